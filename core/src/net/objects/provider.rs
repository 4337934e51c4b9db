//! The storages: how they are addressed, and where their credentials come from, which is the environment as their own
//! programs read it.

use std::str::FromStr;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

use super::connection::{self, Connection};
use crate::common::*;

/// Hint about where a storage finds its credentials.
pub const VARIABLES: &str = "credentials come from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3, \
                             GOOGLE_APPLICATION_CREDENTIALS for gs, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY for az";

/// Addresses at which a machine of each cloud is told who it is.
const AMAZON: &str = "http://169.254.169.254";
const GOOGLE: &str = "http://metadata.google.internal";

type Variables = Vec<(String, String)>;
type OpenStore = fn(&str, Variables, Connection) -> Result<Box<dyn ObjectStore>>;

/// Returns how a bucket of the storage with this scheme is opened.
pub fn of(scheme: &str) -> Option<OpenStore> {
    match scheme {
        "s3" => Some(amazon),
        "gs" => Some(google),
        "az" => Some(azure),
        _ => None,
    }
}

/// Returns the rules of asking again: a server that is busy or gone is asked for two minutes, as the storages advise.
fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(8), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 8, retry_timeout: Duration::from_secs(120) }
}

/// Iterates over the settings of a storage among the variables: those with its prefix that it knows.
fn settings<K: FromStr>(variables: Variables, prefix: &str) -> impl Iterator<Item = (K, String)> {
    let known = move |(name, value): (String, String)| {
        let key = name.starts_with(prefix).then(|| name.to_ascii_lowercase().parse().ok()).flatten()?;
        Some((key, value))
    };
    variables.into_iter().filter_map(known)
}

/// Refuses to ask the machine itself for credentials unless the run may connect there.
fn check_machine(connection: &Connection, bucket: &str, machine: &str) -> Result<()> {
    let url = Url::parse(machine).map_err(|e| err!(Bug, "an address that cannot be read: {e}"))?;
    let host = url.host_str().unwrap_or_default();
    connection.access.to_fetch(&url).map_err(|_| {
        err!(Access, "there are no credentials for the bucket {bucket}")
            .hint(format!("{VARIABLES}; those of the machine itself need --allow-net {host}"))
    })
}

fn wrong(bucket: &str, error: &object_store::Error) -> Error {
    err!(Argument, "the bucket {bucket} cannot be opened: {}", connection::error_and_cause(error)).hint(VARIABLES)
}

fn is_yes(value: Option<String>) -> bool {
    value.is_some_and(|value| ["true", "1", "yes", "on", "y"].contains(&value.to_ascii_lowercase().as_str()))
}

fn amazon(bucket: &str, variables: Variables, connection: Connection) -> Result<Box<dyn ObjectStore>> {
    use AmazonS3ConfigKey as Key;
    let mut builder = AmazonS3Builder::new();
    for (key, value) in settings::<Key>(variables, "AWS_") {
        builder = builder.with_config(key, value);
    }
    let of = |key: Key| builder.get_config_value(&key);
    let known =
        [Key::AccessKeyId, Key::SecretAccessKey, Key::WebIdentityTokenFile, Key::ContainerCredentialsRelativeUri];
    if known.into_iter().all(|key| of(key).is_none())
        && of(Key::ContainerCredentialsFullUri).is_none()
        && !is_yes(of(Key::SkipSignature))
    {
        check_machine(&connection, bucket, AMAZON)?;
    }
    // With the bucket in the host's name, a run can be allowed to connect to one bucket. A name with a dot fits no certificate.
    let is_plain = of(Key::Endpoint).is_none() && of(Key::S3Endpoint).is_none() && !bucket.contains('.');
    if is_plain {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    let built = builder.with_bucket_name(bucket).with_retry(retry()).with_http_connector(connection).build();
    Ok(Box::new(built.map_err(|e| wrong(bucket, &e))?))
}

fn google(bucket: &str, variables: Variables, connection: Connection) -> Result<Box<dyn ObjectStore>> {
    use GoogleConfigKey as Key;
    let home = variables.iter().find(|(name, _)| name == "HOME").map(|(_, home)| home.clone());
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in settings::<Key>(variables, "GOOGLE_") {
        builder = builder.with_config(key, value);
    }
    let of = |key: Key| builder.get_config_value(&key);
    let known = [Key::ServiceAccount, Key::ServiceAccountKey, Key::ApplicationCredentials];
    let kept = home.map(|home| format!("{home}/.config/gcloud/application_default_credentials.json"));
    let has_kept = kept.is_some_and(|path| std::path::Path::new(&path).is_file());
    if known.into_iter().all(|key| of(key).is_none()) && !has_kept && !is_yes(of(Key::SkipSignature)) {
        check_machine(&connection, bucket, GOOGLE)?;
    }
    let built = builder.with_bucket_name(bucket).with_retry(retry()).with_http_connector(connection).build();
    Ok(Box::new(built.map_err(|e| wrong(bucket, &e))?))
}

fn azure(container: &str, variables: Variables, connection: Connection) -> Result<Box<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in settings::<AzureConfigKey>(variables, "AZURE_") {
        builder = builder.with_config(key, value);
    }
    let built = builder.with_container_name(container).with_retry(retry()).with_http_connector(connection).build();
    Ok(Box::new(built.map_err(|e| wrong(container, &e))?))
}
