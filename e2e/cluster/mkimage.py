#!/usr/bin/env python3
"""Write an OCI image archive from a directory, without a Docker engine and with nothing but Python's own library.

    mkimage.py NAME:TAG ROOTDIR -o OUT.tar [-e K=V]... [-u UID:GID] [-l KEY=VALUE]... -- ENTRYPOINT [ARG...]

In: a directory that becomes the image's one layer. Out: a tar that `ctr images import`, `docker load`, `podman load`,
`skopeo` and `kind load image-archive` read. The same input gives the same bytes: names are sorted, times are zero, and
everything belongs to root. Files keep their modes.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import tarfile

OCI = "application/vnd.oci.image."
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def anonymous(entry):
    """Drop from a tar entry what would differ between two machines."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def layer_of(root):
    """The directory as an uncompressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder, folders, files in os.walk(root):
            folders.sort()
            inside = os.path.relpath(folder, root)
            if inside != ".":
                tar.add(folder, inside, recursive=False, filter=anonymous)
            links = [d for d in folders if os.path.islink(os.path.join(folder, d))]
            for name in sorted(files + links):
                tar.add(os.path.join(folder, name), os.path.normpath(os.path.join(inside, name)),
                        recursive=False, filter=anonymous)
    return buffer.getvalue()


def compact(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("root")
    parser.add_argument("-o", "--out", required=True)
    parser.add_argument("-e", "--env", action="append", default=[])
    parser.add_argument("-l", "--label", action="append", default=[])
    parser.add_argument("-u", "--user", default="")
    parser.add_argument("entrypoint", nargs="+")
    args = parser.parse_args()

    blobs = {}

    def put(content, kind):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": OCI + kind, "digest": "sha256:" + digest, "size": len(content)}

    target = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux"}
    layer = put(layer_of(args.root), "layer.v1.tar")
    config = {
        "Entrypoint": args.entrypoint,
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *args.env],
        "WorkingDir": "/",
        "User": args.user,
    }
    if args.label:
        config["Labels"] = dict(label.split("=", 1) for label in args.label)
    image = put(compact({
        **target,
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }), "config.v1+json")
    manifest = put(compact({
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": image,
        "layers": [layer],
    }), "manifest.v1+json")
    manifest["platform"] = target
    manifest["annotations"] = {
        "io.containerd.image.name": args.name,
        "org.opencontainers.image.ref.name": args.name,
    }
    files = {
        "oci-layout": compact({"imageLayoutVersion": "1.0.0"}),
        "index.json": compact({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [manifest]}),
        # Docker engines before 25 read this file and not the index.
        "manifest.json": compact([{
            "Config": "blobs/sha256/" + image["digest"][7:],
            "Layers": ["blobs/sha256/" + layer["digest"][7:]],
            "RepoTags": [args.name],
        }]),
        **{"blobs/sha256/" + digest: content for digest, content in blobs.items()},
    }
    unfinished = args.out + ".unfinished"
    with tarfile.open(unfinished, "w") as tar:
        for name, content in files.items():
            entry = anonymous(tarfile.TarInfo(name))
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    os.replace(unfinished, args.out)


if __name__ == "__main__":
    main()
