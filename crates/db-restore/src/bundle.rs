//! `db-restore bundle`: brings back the files of `backup.bundle`, into a new folder. Where they belong is for a person to
//! say: nothing that is there is ever written over.

use crate::catalogue::{Wanted, deployment_of};
use kit_backup::{opener, promised_bundle, unpack};
use kit_contract::Reason;
use kit_contract::body::BundleBackup;
use kit_contract::config::{BUNDLE, Span};
use kit_core::{Progress, ResultExt as _, StepError, count_text};
use kit_database::gunzip::Fault;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use kit_store::{Key, Layout, Store};
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt as _;

/// The inputs of `bundle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The deployment whose bundle to unpack, or `latest` for the newest
    #[arg(long, value_name = "ID|latest", default_value = "latest")]
    deployment: Wanted,
    /// The folder to make; it must not be there yet
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
}

/// `db-restore bundle`.
pub(crate) struct Unbundle;

impl Tool for Unbundle {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("bundle"),
        about: "Unpacks the files of a bundle into a new folder",
        details: "Fetches the files that db-backup kept beside the databases (backup.bundle), opens them with an \
                  identity of age, compares digests with the metadata, and unpacks them into a folder that it makes, \
                  readable by its owner alone. It writes over nothing and shows nothing of what they hold; where they \
                  belong is for a person to say.",
        examples: &[Example {
            what: "the newest one",
            line: "db-restore bundle --to restored --backup-identity-file key.txt",
        }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[crate::IDENTITY],
        identity: IdentityRule::Joins,
        rerun: "unpacks again, into another folder",
        deadline: Span::from_secs(10 * 60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        if std::fs::symlink_metadata(&args.to).is_ok() {
            let message = format!("--to {} is there already, and nothing is written over", args.to.display());
            return Err(
                StepError::new(Reason::UsageError, message).hint("name a folder that is not there yet")
            );
        }
        let store =
            kit_store_s3::open(args.store.as_deref(), &cx.config().store, &cx, &cx.resolve("")).await?;
        let identity = cx.identity();
        let layout = Layout::new(identity.app, identity.environment);
        let backup = find(&*store, &layout, &args.deployment).await?;
        let given = crate::given_key(&cx)?;
        let key = opener(BUNDLE, backup.encryption.as_ref(), given.as_ref())?;
        let archive = fetch(&cx, &*store, &backup, key).await?;
        let to = args.to.clone();
        let unpacking = tokio::task::spawn_blocking(move || extract(&archive, &to));
        unpacking.await.or_reason(Reason::InternalError, "the unpacking ended in a bug")??;
        let text = format!(
            "unpacked {}, as they were at {:.0}, into {}",
            count_text(backup.files, "file"),
            backup.snapshot_at,
            args.to.display()
        );
        let json = json!({
            "folder": args.to, "files": backup.files, "snapshot_at": backup.snapshot_at, "source": backup.location,
            "source_sha256": backup.sha256,
        });
        Ok(ToolOutput { reason: Reason::Restored, text, json })
    }
}

/// The newest that is meant.
async fn find(store: &dyn Store, layout: &Layout, wanted: &Wanted) -> Result<BundleBackup, StepError> {
    let prefix = layout.backups_prefix();
    let mut newest: Option<BundleBackup> = None;
    for name in store.list(&prefix).await? {
        let Some(id) = deployment_of(&prefix, &name) else { continue };
        if !name.ends_with(&format!(".{BUNDLE}.json"))
            || matches!(wanted, Wanted::Deployment(only) if *only != id)
        {
            continue;
        }
        let Ok(key) = name.parse::<Key>() else { continue };
        let Some(object) = store.get(&key).await? else { continue };
        let Ok(found) = serde_json::from_slice::<BundleBackup>(&object.bytes) else { continue };
        if found.metadata_key == name && newest.as_ref().is_none_or(|one| one.snapshot_at < found.snapshot_at)
        {
            newest = Some(found);
        }
    }
    let whose = match wanted {
        Wanted::Latest => "any deployment".to_owned(),
        Wanted::Deployment(id) => format!("deployment {id}"),
    };
    newest.ok_or_else(|| {
        StepError::new(Reason::BackupNotFound, format!("there is no finished bundle of {whose}"))
            .hint("db-backup makes one where deploy.toml has a [backup.bundle]")
    })
}

/// The archive, whole and compared.
async fn fetch(
    cx: &ToolContext,
    store: &dyn Store,
    backup: &BundleBackup,
    key: Option<&kit_backup::Identity>,
) -> Result<Vec<u8>, StepError> {
    let object: Key =
        backup.key.parse().or_reason(Reason::ArtifactInvalid, "the bundle's metadata names no object")?;
    let Some(source) = store.read_stream(&object).await? else {
        return Err(StepError::new(Reason::BackupNotFound, format!("{object} is gone from the store")));
    };
    let mismatch = |what: &str| {
        let message = format!("{} is not the bundle that was stored: {what}", backup.location);
        StepError::new(Reason::RestoreMismatch, message).hint("try an older one")
    };
    let of_fault = |fault: &Fault| match fault {
        Fault::Content(text) => mismatch(text),
        Fault::Store(text) => {
            StepError::new(Reason::StoreUnreachable, "the bundle cannot be read from the store")
                .because(text.clone())
        }
    };
    let progress = Progress::new(cx, "reading the bundle".to_owned(), Some(backup.uncompressed_bytes));
    let mut gunzip = unpack(source, key, progress).await.map_err(|fault| of_fault(&fault))?;
    let mut archive = Vec::new();
    let read = (&mut gunzip).take(backup.uncompressed_bytes + 1).read_to_end(&mut archive).await;
    if let (Err(_), Some(fault)) = (&read, gunzip.fault()) {
        return Err(of_fault(fault));
    }
    // One byte more than there should be is asked for, so the end was seen.
    match gunzip.read() {
        Some(found) if found == promised_bundle(backup) => Ok(archive),
        _ => Err(mismatch("its digest is another one")),
    }
}

/// Unpacks into a new folder, and nowhere else.
fn extract(archive: &[u8], to: &Path) -> Result<(), StepError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = format!("the bundle cannot be unpacked into {}", to.display());
    let made = std::fs::DirBuilder::new().mode(0o700).create(to);
    made.or_reason(Reason::UsageError, format!("--to {} cannot be made", to.display()))?;
    let mut archive = tar::Archive::new(archive);
    archive.set_overwrite(false);
    archive.set_preserve_permissions(true);
    // What would lead out of the folder is left out by it, and must not be there.
    archive.unpack(to).or_reason(Reason::RestoreMismatch, failed)
}
