# shellcheck shell=bash
# Finds, or fetches through the Go module proxy, the Go version that the pinned modules name.

# go_wanted: the newest version that a go.mod here asks for
go_wanted() { sed -n 's/^go //p' "$CLUSTER_DIR"/mods/*/go.mod | sort -V | tail -1; }

# use_go: put a new enough `go` first in PATH and set the caches and flags of our builds
use_go() {
  local wanted have
  wanted=$(go_wanted)
  export GOCACHE=$PARLANCE_CACHE/go-build GOMODCACHE=$PARLANCE_CACHE/go-mod GOFLAGS="-buildvcs=false -mod=readonly"
  export GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0
  if [ -x "$PARLANCE_CACHE/go-$wanted/bin/go" ]; then
    PATH=$PARLANCE_CACHE/go-$wanted/bin:$PATH
    return
  fi
  have=$(command -v go >/dev/null && go env GOVERSION | sed 's/^go//' || true)
  if [ -n "$have" ] && newer_or_same "$have" "$wanted"; then return; fi
  fetch_go "$wanted"
  PATH=$PARLANCE_CACHE/go-$wanted/bin:$PATH
}

newer_or_same() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | tail -1)" = "$1" ]; }

# fetch_go VERSION: Go's own toolchains are published as a module, which any older Go can download.
fetch_go() {
  local version=$1 work old arch
  work=$(mktemp -d "$PARLANCE_CACHE/go.XXXXXX")
  if command -v go >/dev/null; then
    old=go
  else
    step "Go was not found: unpacking Debian's Go, to fetch Go $version with" "$LOGS/go.log" debian_go "$work/debian"
    old=$(echo "$work"/debian/usr/lib/go-*/bin/go)
  fi
  arch=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
  step "fetching Go $version through the Go module proxy (or install it yourself)" "$LOGS/go.log" env -u GOFLAGS GOTOOLCHAIN=local \
    GOCACHE="$work/cache" GOPATH="$work/path" GOMODCACHE="$work/mod" \
    "$old" mod download "golang.org/toolchain@v0.0.1-go$version.linux-$arch"
  local dir="$work/mod/golang.org/toolchain@v0.0.1-go$version.linux-$arch"
  chmod -R u+w "$dir"
  chmod +x "$dir"/bin/* "$dir"/pkg/tool/*/*
  mv "$dir" "$PARLANCE_CACHE/go-$version"
  chmod -R u+w "$work" # Go writes its modules read-only
  rm -rf "$work"
}

# debian_go DIR: Debian's Go, unpacked into DIR and not installed
debian_go() {
  mkdir -p "$1"
  cd "$1" || return
  local depends
  depends=$(apt-cache depends golang-go | sed -n 's/.*Depends: \(golang-1[0-9.]*-go\)$/\1/p')
  apt-get download "$depends" "${depends%-go}-src"
  for deb in ./*.deb; do dpkg-deb -x "$deb" .; done
  # the compiler finds its library at ../../share/go-1.N/src, by links that Debian made for /usr
  local root
  for root in usr/lib/go-*; do
    find "$root" -type l | while read -r link; do
      local target
      target=$(readlink "$link")
      case $target in /usr/*) ln -sfn "$PWD$target" "$link" ;; esac
    done
  done
}
