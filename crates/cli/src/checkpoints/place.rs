//! What `--checkpoints` names: a directory, or a bucket and a prefix in it.

use std::path::{Path, PathBuf};

use object_store::{ObjectStoreScheme, path::Path as Prefix};
use url::Url;

use crate::outcome::{Failure, Outcome};

/// Where checkpoints are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket of a service.
    Bucket(Bucket),
}

/// A bucket, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) service: Service,
    /// With the bucket; free of secrets.
    pub(crate) url: Url,
    pub(crate) prefix: Prefix,
}

/// A service that stores objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// S3, and what speaks its language.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Place {
    /// Reads the value of `--checkpoints`.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        if text.is_empty() {
            return Err(wrong(text, "it is empty"));
        }
        if !has_scheme(text) {
            return Ok(Self::Directory(Path::new(text).to_owned()));
        }
        // The text is left out of the message: a secret may be in it.
        let url = Url::parse(text).map_err(|error| wrong("..", &error.to_string()))?;
        let shown = without_secrets(&url);
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(
                &shown,
                "credentials and options have no place in it: put them into variables of the environment",
            ));
        }
        if url.scheme() == "file" {
            let dir = url.to_file_path().map_err(|()| wrong(&shown, "it names another host"))?;
            return Ok(Self::Directory(dir));
        }
        bucket(url, &shown).map(Self::Bucket)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(dir) => dir.display().fmt(f),
            Self::Bucket(bucket) => bucket.url.fmt(f),
        }
    }
}

/// Whether this begins like a URL; `./a:b` is a directory.
fn has_scheme(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn bucket(url: Url, shown: &str) -> Outcome<Bucket> {
    let service = match url.scheme() {
        "s3" | "s3a" => Service::S3,
        "gs" => Service::Google,
        "az" | "azure" | "abfs" | "abfss" => Service::Azure,
        other => return Err(wrong(shown, &format!("`{other}` is no kind of store that is known"))),
    };
    // For Azure, the container may stand before the `@`.
    if service != Service::Azure && !url.username().is_empty() {
        return Err(wrong(shown, "a user has no place in it: credentials are variables"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong(shown, "it lacks the bucket"));
    }
    let (_, prefix) =
        ObjectStoreScheme::parse(&url).map_err(|error| wrong(shown, &error.to_string()))?;
    Ok(Bucket { service, url, prefix })
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    if url.password().is_some() && url.set_password(Some("..")).is_err() {
        return url.scheme().to_owned();
    }
    url.into()
}

fn wrong(shown: &str, why: &str) -> Failure {
    Failure::invalid(format!(
        "--checkpoints {shown} can't be used: {why}; give a directory, or a URL such as s3://bucket/prefix, \
         gs://bucket/prefix, az://container/prefix or file:///directory"
    ))
}

#[cfg(test)]
mod tests {
    use super::{Place, Service};

    fn bucket(text: &str) -> (Service, String, String) {
        match Place::parse(text).unwrap() {
            Place::Bucket(bucket) => (bucket.service, bucket.url.into(), bucket.prefix.into()),
            Place::Directory(dir) => panic!("{} is no directory", dir.display()),
        }
    }

    #[test]
    fn directories_are_plain_or_urls() {
        for (text, dir) in [
            ("a/b", "a/b"),
            ("/tmp/x", "/tmp/x"),
            ("file:///tmp/a%20b", "/tmp/a b"),
            ("./s3:x", "./s3:x"),
        ] {
            assert_eq!(Place::parse(text).unwrap(), Place::Directory(dir.into()), "{text}");
        }
    }

    #[test]
    fn urls_name_a_bucket_and_a_prefix() {
        for (text, service, prefix) in [
            ("s3://shop", Service::S3, ""),
            ("s3://shop/a/b/", Service::S3, "a/b"),
            ("gs://shop/a", Service::Google, "a"),
            ("az://shop/a", Service::Azure, "a"),
            ("abfss://shop@account.dfs.core.windows.net/a", Service::Azure, "a"),
        ] {
            assert_eq!(bucket(text), (service, text.to_owned(), prefix.to_owned()), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        for (text, why) in [
            ("", "it is empty"),
            ("ftp://shop/a", "`ftp` is no kind of store"),
            ("s3:shop", "it lacks the bucket"),
            ("s3:///a", "it lacks the bucket"),
            ("file://host/a", "it names another host"),
            ("s3://user@shop/a", "a user has no place in it"),
            ("s3://key:hush@shop/a", "put them into variables"),
            ("az://shop/a?sig=hush", "put them into variables"),
            ("s3://shop/a//b", "empty path segment"),
            ("s3://key:hush@[/a", "invalid"),
        ] {
            let failure = Place::parse(text).unwrap_err();
            assert!(failure.text.contains(why), "{text}: {}", failure.text);
            assert!(failure.text.contains("such as s3://bucket/prefix"), "{}", failure.text);
            assert!(!failure.text.contains("hush"), "{}", failure.text);
        }
    }
}
