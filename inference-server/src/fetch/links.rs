//! Files named one by one by their URLs in; their list out. Asks nobody: what a server says of a file comes with its bytes.

use std::{collections::BTreeSet, str::FromStr};

use reqwest::Url;

use super::{
    FetchError,
    listing::{Address, Listing, RemoteFile, is_inside, shown},
};

/// One file of a model, as the command line names it: `path=PATH[,sha256=HEX],url=URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Where it belongs in the model.
    pub(super) path: String,
    /// Its sha256 in lower-case hexadecimal digits.
    pub(super) sha256: Option<String>,
    /// Where it is.
    pub(super) url: Url,
}

impl FromStr for Link {
    type Err = String;

    /// The URL comes last, since it may hold commas.
    fn from_str(text: &str) -> Result<Link, String> {
        let (before, url) = text
            .split_once("url=")
            .filter(|(before, _)| before.ends_with(','))
            .ok_or("write path=PATH[,sha256=HEX],url=URL, the URL last")?;
        let (mut path, mut sha256) = (None, None);
        for pair in before.trim_end_matches(',').split(',') {
            match pair.split_once('=') {
                Some(("path", value)) => path = Some(value.to_owned()),
                Some(("sha256", value)) => sha256 = Some(value.to_lowercase()),
                _ => return Err(format!("\"{pair}\" is neither path=PATH nor sha256=HEX")),
            }
        }
        let path = path.filter(|path| is_inside(path));
        let path = path.ok_or("path must be a file of the model, such as onnx/encoder_model.onnx")?;
        let hex = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if sha256.as_ref().is_some_and(|sha256| !hex(sha256)) {
            return Err("sha256 must have 64 hexadecimal digits".to_owned());
        }
        Ok(Link {
            path,
            sha256,
            url: address(url)?,
        })
    }
}

/// An address of a server.
pub fn address(text: &str) -> Result<Url, String> {
    // The parser's own words quote nothing of it.
    let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!(
            "a URL must begin with https:// or http://, not {other}://"
        )),
    }
}

/// Reads the files' names. What is wrong is told by number, without the text: it may hold a secret.
pub(super) fn read(texts: &[String]) -> Result<Vec<Link>, FetchError> {
    let numbered = texts.iter().enumerate();
    let links = numbered.map(|(at, text)| {
        let wrong = |said: String| FetchError::SourceNotFound(format!("file {} by http: {said}", at + 1));
        text.parse().map_err(wrong)
    });
    links.collect()
}

/// The files, each path once.
pub(super) fn list(links: &[Link]) -> Result<Listing, FetchError> {
    let mut paths = BTreeSet::new();
    if let Some(twice) = links.iter().find(|link| !paths.insert(&link.path)) {
        let said = format!("{} is named twice; name each file once", twice.path);
        return Err(FetchError::InvalidModel(said));
    }
    let files = links.iter().map(|link| RemoteFile {
        path: link.path.clone(),
        size: None,
        sha256: link.sha256.clone(),
        version: String::new(),
        address: Address::Open(link.url.clone()),
    });
    Ok(Listing {
        source: common(links),
        revision: None,
        files: files.collect(),
    })
}

/// The folder that all of them are in, or else the first of them.
fn common(links: &[Link]) -> String {
    let mut shown = links.iter().map(|link| shown(&link.url));
    let first = shown.next().unwrap_or_default();
    let shared = shown.fold(first.clone(), |shared, next| {
        let same = shared.chars().zip(next.chars()).take_while(|(a, b)| a == b);
        same.map(|(a, _)| a).collect()
    });
    let folder = shared.rfind('/').map_or("", |end| &shared[..=end]);
    let has_host = Url::parse(folder).is_ok_and(|url| url.has_host());
    match links.len() {
        0 | 1 => first,
        _ if has_host => folder.to_owned(),
        count => format!("{first} and {} more", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path: &str, url: &str) -> Link {
        format!("path={path},url={url}").parse().unwrap()
    }

    #[test]
    fn a_link_is_read_with_its_commas() {
        let hex = "AB".repeat(32);
        let link: Link = format!("path=onnx/a.onnx,sha256={hex},url=https://h/a?b=1,url=2")
            .parse()
            .unwrap();
        assert_eq!(link.path, "onnx/a.onnx");
        assert_eq!(link.sha256, Some("ab".repeat(32)));
        assert_eq!(link.url.as_str(), "https://h/a?b=1,url=2");
    }

    #[test]
    fn a_link_that_is_none_is_refused_with_what_to_write() {
        for (text, said) in [
            ("https://h/a", "write path=PATH[,sha256=HEX],url=URL"),
            ("url=https://h/a,path=a", "write path="),
            ("path=../a,url=https://h/a", "path must be a file of the model"),
            ("path=a,sha256=1,url=https://h/a", "64 hexadecimal digits"),
            ("path=a,size=1,url=https://h/a", "\"size=1\" is neither"),
            ("path=a,url=ftp://h/a", "must begin with https:// or http://"),
            ("path=a,url=h", "this is no URL"),
        ] {
            let error = text.parse::<Link>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn the_source_is_the_folder_that_they_share_without_secrets() {
        let of = |links: &[Link]| list(links).unwrap().source;
        let (a, b) = (
            link("a", "https://u:p@h/m/conf/a?s=1"),
            link("b", "https://h/m/conv/b"),
        );
        assert_eq!(of(std::slice::from_ref(&a)), "https://h/m/conf/a");
        assert_eq!(of(&[a.clone(), b]), "https://h/m/");
        let elsewhere = link("c", "https://i/c");
        assert_eq!(of(&[a.clone(), elsewhere]), "https://h/m/conf/a and 1 more");
        assert_eq!(list(&[a.clone(), a]).unwrap_err().reason(), "InvalidModel");
    }
}
