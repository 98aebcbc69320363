//! The clients of object stores: set up from the environment, with bounded patience.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    prefix::PrefixStore,
};

use url::Url;

use super::place::{Bucket, Service};
use crate::outcome::{Failure, Outcome};

/// How long connecting may take: the address is wrong, or a firewall swallows it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one request may take: the largest object, 64 MiB, at 3.4 MB/s. A slower line needs a longer one (`AWS_TIMEOUT`,
/// `GOOGLE_TIMEOUT` or `AZURE_TIMEOUT`). With [`RETRY_TIMEOUT`] a store that hangs is given up after half a minute.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a request that failed is tried again. That bridges a restart of a server and a hiccup; whatever lasts longer is left
/// to the next checkpoint, and the pipeline goes on meanwhile.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause between two tries, so that there are several within [`RETRY_TIMEOUT`].
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Variables of the environment, as names and values.
pub(super) type Variables = Vec<(String, String)>;

/// Opens the bucket. Nothing is asked of the service yet.
pub(super) fn open(bucket: &Bucket, variables: &Variables) -> Outcome<Arc<dyn ObjectStore>> {
    check_endpoints(bucket, variables)?;
    let opened = match bucket.service {
        Service::S3 => open_s3(bucket, variables),
        Service::Google => open_google(bucket, variables),
        Service::Azure => open_azure(bucket, variables),
    };
    opened.map_err(|error| unusable(bucket, &error.to_string()))
}

fn unusable(bucket: &Bucket, why: &str) -> Failure {
    let (url, hint) = (&bucket.url, bucket.service.settings());
    Failure::invalid(format!("--checkpoints {url} can't be used: {why}; {hint}"))
}

/// The client would panic on an address that is none, and say little about one that it may not use.
fn check_endpoints(bucket: &Bucket, variables: &Variables) -> Outcome {
    let (own, insecure) = match bucket.service {
        Service::S3 => ("AWS_", "AWS_ALLOW_HTTP"),
        Service::Google => ("GOOGLE_", "GOOGLE_ALLOW_HTTP"),
        Service::Azure => ("AZURE_", "AZURE_ALLOW_HTTP"),
    };
    let insecure_too = variables.iter().any(|(name, _)| name == insecure);
    let addresses = variables.iter().filter(|(name, _)| {
        name.starts_with(own) && (name.contains("ENDPOINT") || name.ends_with("BASE_URL"))
    });
    for (name, value) in addresses {
        let url = Url::parse(value).ok().filter(|url| url.has_host());
        match url.as_ref().map(Url::scheme) {
            Some("https") => {}
            Some("http") if insecure_too || name.contains("METADATA") => {}
            Some("http") => {
                let why = format!("{name} is not encrypted, and {insecure}=true is not set");
                return Err(unusable(bucket, &why));
            }
            _ => {
                let why = format!("{name} is no address that begins with https:// or http://");
                return Err(unusable(bucket, &why));
            }
        }
    }
    Ok(())
}

impl Service {
    /// What a service is set up with.
    pub(crate) const fn settings(self) -> &'static str {
        match self {
            Self::S3 => {
                "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and for another service than AWS \
                 AWS_ENDPOINT (with AWS_ALLOW_HTTP=true if that begins with http://)"
            }
            Self::Google => "set GOOGLE_SERVICE_ACCOUNT to the file of a service account",
            Self::Azure => "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        }
    }
}

type Opened = object_store::Result<Arc<dyn ObjectStore>>;

fn open_s3(bucket: &Bucket, variables: &Variables) -> Opened {
    let builder = AmazonS3Builder::new()
        .with_url(bucket.url.as_str())
        .with_client_options(client_options())
        .with_retry(retries());
    let builder = known(variables, "AWS_")
        .fold(builder, |builder, (key, value): (AmazonS3ConfigKey, _)| {
            builder.with_config(key, value)
        });
    Ok(within(builder.build()?, bucket))
}

fn open_google(bucket: &Bucket, variables: &Variables) -> Opened {
    let builder = GoogleCloudStorageBuilder::new()
        .with_url(bucket.url.as_str())
        .with_client_options(client_options())
        .with_retry(retries());
    let builder = known(variables, "GOOGLE_")
        .fold(builder, |builder, (key, value): (GoogleConfigKey, _)| {
            builder.with_config(key, value)
        });
    Ok(within(builder.build()?, bucket))
}

fn open_azure(bucket: &Bucket, variables: &Variables) -> Opened {
    let builder = MicrosoftAzureBuilder::new()
        .with_url(bucket.url.as_str())
        .with_client_options(client_options())
        .with_retry(retries());
    let builder = known(variables, "AZURE_")
        .fold(builder, |builder, (key, value): (AzureConfigKey, _)| {
            builder.with_config(key, value)
        });
    Ok(within(builder.build()?, bucket))
}

/// The variables that a service knows; others that begin like them are somebody else's.
fn known<'a, K: std::str::FromStr>(
    variables: &'a Variables,
    prefix: &'static str,
) -> impl Iterator<Item = (K, &'a str)> {
    variables.iter().filter_map(move |(name, value)| {
        let key = name.starts_with(prefix).then(|| name.to_ascii_lowercase().parse().ok())?;
        Some((key?, value.as_str()))
    })
}

fn within(store: impl ObjectStore, bucket: &Bucket) -> Arc<dyn ObjectStore> {
    Arc::new(PrefixStore::new(store, bucket.prefix.clone()))
}

fn client_options() -> ClientOptions {
    ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT)
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { max_backoff: BACKOFF_MAX, ..BackoffConfig::default() },
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Variables, open};
    use crate::{
        checkpoints::place::{Bucket, Place},
        outcome::{Failure, INVALID},
        tls::use_ring,
    };

    fn bucket(url: &str) -> Bucket {
        match Place::parse(url).unwrap() {
            Place::Bucket(bucket) => bucket,
            Place::Directory(dir) => panic!("{} is no directory", dir.display()),
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn fails(url: &str, pairs: &[(&str, &str)]) -> Failure {
        use_ring();
        open(&bucket(url), &variables(pairs)).unwrap_err()
    }

    #[test]
    fn every_service_opens_with_its_own_variables() {
        use_ring();
        let variables = variables(&[
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_ENDPOINT", "http://127.0.0.1:1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_PROFILE", "not known here, and left alone"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "aHVzaA=="),
            ("GOOGLE_SKIP_SIGNATURE", "true"),
        ]);
        for url in ["s3://shop/a", "gs://shop/a", "az://shop/a"] {
            let store = open(&bucket(url), &variables).unwrap();
            assert_eq!(store.to_string(), "PrefixObjectStore(a)", "{url}");
            assert!(!format!("{store:?}").contains("hush"), "{url}");
        }
    }

    #[test]
    fn settings_that_cant_work_are_refused_with_what_to_set() {
        let failure = fails("s3://shop/a", &[("AWS_ACCESS_KEY_ID", "key")]);
        assert_eq!(failure.code, INVALID);
        assert!(failure.text.contains("AWS_SECRET_ACCESS_KEY and AWS_REGION"), "{}", failure.text);
        for (value, why) in [
            ("nonsense", "AWS_ENDPOINT is no address"),
            ("ftp://host", "AWS_ENDPOINT is no address"),
            ("http://127.0.0.1:1", "AWS_ALLOW_HTTP=true is not set"),
        ] {
            let failure = fails("s3://shop/a", &[("AWS_ENDPOINT", value)]);
            assert!(failure.text.contains(why), "{}", failure.text);
        }
        let failure = fails("az://shop/a", &[]);
        assert!(failure.text.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{}", failure.text);
        let failure = fails("gs://shop/a", &[("GOOGLE_SERVICE_ACCOUNT", "/nowhere/account.json")]);
        assert!(failure.text.contains("GOOGLE_SERVICE_ACCOUNT"), "{}", failure.text);
    }
}
