//! The artifact folder: what earlier steps wrote, and where this one writes.

use crate::Identity;
use kit_contract::{AnyArtifact, Artifact, ArtifactName, Body, Evidence, Reason, Sha256};
use kit_core::{ResultExt as _, StepError, fs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// No artifact is longer; a longer file is not one.
const LIMIT_BYTES: u64 = 16 << 20;
/// Earlier attempts are kept here, for the record and for whoever looks for the cause.
const HISTORY: &str = "history";

/// The artifact folder of one deployment. Clones share what was read.
#[derive(Clone, Debug)]
pub struct ArtifactFolder {
    path: PathBuf,
    expected: Arc<BTreeMap<String, Sha256>>,
    read: Arc<Mutex<ReadLog>>,
}

#[derive(Debug, Default)]
struct ReadLog {
    evidence: Vec<Evidence>,
    unanchored: bool,
}

impl ArtifactFolder {
    /// The folder at `path`, with digests that somebody outside vouches for, as
    /// `<artifact>:<sha256>`.
    pub(crate) fn new(path: PathBuf, expect: &[String]) -> Result<Self, StepError> {
        let mut expected = BTreeMap::new();
        for item in expect {
            let parsed = item.rsplit_once(':').and_then(|(name, digest)| {
                Some((name.parse::<ArtifactName>().ok()?, digest.parse::<Sha256>().ok()?))
            });
            let Some((name, digest)) = parsed else {
                return Err(StepError::new(
                    Reason::UsageError,
                    format!("--expect {item:?} is not <artifact>:<sha256>, for example backup:9f86d0…"),
                ));
            };
            expected.insert(name.to_string(), digest);
        }
        Ok(Self { path, expected: Arc::new(expected), read: Arc::default() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of an artifact.
    pub fn file(&self, name: &ArtifactName) -> PathBuf {
        self.path.join(name.file_name())
    }

    /// Reads an artifact that must be there and belong to this deployment.
    ///
    /// # Errors
    /// Missing, unreadable, of another deployment, or not the one that was written.
    pub fn read<B: Body>(&self, name: &ArtifactName, ours: &Identity) -> Result<Artifact<B>, StepError> {
        self.read_if_there(name, ours)?.ok_or_else(|| {
            StepError::new(Reason::ArtifactMissing, format!("there is no {}", self.file(name).display()))
                .hint(format!("run the step that writes {name:?} first", name = name.to_string()))
        })
    }

    /// Reads an artifact that must be there, belong to this deployment, and say go.
    ///
    /// # Errors
    /// As [`ArtifactFolder::read`], and if the step that wrote it did not succeed.
    pub fn read_go<B: Body>(&self, name: &ArtifactName, ours: &Identity) -> Result<Artifact<B>, StepError> {
        let artifact = self.read::<B>(name, ours)?;
        if artifact.is_go() {
            return Ok(artifact);
        }
        Err(StepError::new(
            Reason::ArtifactNotGo,
            format!(
                "{} ended with {} ({}): {}",
                artifact.step, artifact.result, artifact.reason, artifact.message
            ),
        ))
    }

    /// Like [`ArtifactFolder::read`], but one that is not there is `None`.
    ///
    /// # Errors
    /// If it is there and cannot be used.
    pub fn read_if_there<B: Body>(
        &self,
        name: &ArtifactName,
        ours: &Identity,
    ) -> Result<Option<Artifact<B>>, StepError> {
        let Some((bytes, any)) = self.open(name)? else {
            // Somebody saw it: that it is gone is not the same as that it never was.
            if self.expected.contains_key(&name.to_string()) {
                return Err(StepError::new(
                    Reason::ArtifactMissing,
                    format!("there is no {}, though --expect vouches for it", self.file(name).display()),
                ));
            }
            return Ok(None);
        };
        self.check_owner(name, &any, ours)?;
        self.check_digest(name, &bytes, &any)?;
        let artifact: Artifact<B> = serde_json::from_slice(&bytes)
            .or_reason(Reason::ArtifactInvalid, format!("{} cannot be read", self.file(name).display()))?;
        Ok(Some(artifact))
    }

    /// Reads the envelope of an artifact of any kind, without asking whose it is.
    ///
    /// # Errors
    /// If it is there and is no artifact of that kind.
    pub fn peek(&self, name: &ArtifactName) -> Result<Option<AnyArtifact>, StepError> {
        Ok(self.open(name)?.map(|(_, any)| any))
    }

    fn open(&self, name: &ArtifactName) -> Result<Option<(Vec<u8>, AnyArtifact)>, StepError> {
        let path = self.file(name);
        let bytes = fs::read_if_there(&path, LIMIT_BYTES)
            .or_reason(Reason::ArtifactInvalid, "an artifact cannot be read")?;
        let Some(bytes) = bytes else { return Ok(None) };
        let any: AnyArtifact = serde_json::from_slice(&bytes).or_reason(
            Reason::ArtifactInvalid,
            format!("{} is not an artifact, or is truncated", path.display()),
        )?;
        if any.schema != name.kind.schema() {
            return Err(StepError::new(
                Reason::ArtifactInvalid,
                format!("{} holds {:?}, not {:?}", path.display(), any.schema, name.kind.schema()),
            )
            .hint("use one version of deploy-kit for the whole deploy"));
        }
        Ok(Some((bytes, any)))
    }

    fn check_owner(&self, name: &ArtifactName, any: &AnyArtifact, ours: &Identity) -> Result<(), StepError> {
        // A step that runs alone may be pointed at any folder, to look into what happened there.
        if ours.standalone
            || (any.deployment_id == ours.deployment_id
                && any.app == ours.app
                && any.environment == ours.environment)
        {
            return Ok(());
        }
        Err(StepError::new(
            Reason::ArtifactForeign,
            format!(
                "{} belongs to {}/{} {}, this run to {}/{} {}",
                self.file(name).display(),
                any.app,
                any.environment,
                any.deployment_id,
                ours.app,
                ours.environment,
                ours.deployment_id
            ),
        )
        .hint("use a fresh --artifacts folder for each deployment"))
    }

    /// Compares with the digest from outside, and what the artifact rests on with what is here.
    fn check_digest(&self, name: &ArtifactName, bytes: &[u8], any: &AnyArtifact) -> Result<(), StepError> {
        let digest = Sha256::of(bytes);
        let expected = self.expected.get(&name.to_string());
        if let Some(expected) = expected
            && *expected != digest
        {
            return Err(tampered(&self.file(name), expected, &digest));
        }
        for evidence in &any.evidence {
            self.check_evidence(name, evidence)?;
        }
        let Ok(mut log) = self.read.lock() else { return Ok(()) };
        log.unanchored |= expected.is_none();
        let entry = Evidence { artifact: name.to_string(), sha256: digest };
        if !log.evidence.contains(&entry) {
            log.evidence.push(entry);
        }
        Ok(())
    }

    fn check_evidence(&self, reader: &ArtifactName, evidence: &Evidence) -> Result<(), StepError> {
        let Ok(name) = evidence.artifact.parse::<ArtifactName>() else { return Ok(()) };
        let path = self.file(&name);
        let Some(bytes) = fs::read_if_there(&path, LIMIT_BYTES)
            .or_reason(Reason::ArtifactInvalid, "an artifact cannot be read")?
        else {
            return Ok(());
        };
        let digest = Sha256::of(&bytes);
        if digest == evidence.sha256 || self.was_earlier_attempt(&name, &evidence.sha256)? {
            return Ok(());
        }
        Err(tampered(&path, &evidence.sha256, &digest)
            .hint(format!("{reader} rests on it: `evidence` in {}", reader.file_name())))
    }

    /// True if an earlier attempt of `name` had this digest: the step was run again since.
    fn was_earlier_attempt(&self, name: &ArtifactName, digest: &Sha256) -> Result<bool, StepError> {
        for file in self.history_of(name)? {
            let bytes = fs::read(&self.path.join(HISTORY).join(file), LIMIT_BYTES)
                .or_reason(Reason::ArtifactInvalid, "an earlier artifact cannot be read")?;
            if Sha256::of(&bytes) == *digest {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn history_of(&self, name: &ArtifactName) -> Result<Vec<String>, StepError> {
        let prefix = format!("{name}.");
        let names = fs::list(&self.path.join(HISTORY))
            .or_reason(Reason::ArtifactInvalid, "the history of the artifacts cannot be read")?;
        Ok(names.unwrap_or_default().into_iter().filter(|file| file.starts_with(&prefix)).collect())
    }

    /// What was read so far, and whether somebody outside vouched for all of it.
    pub(crate) fn evidence(&self) -> (Vec<Evidence>, bool) {
        self.read.lock().map(|log| (log.evidence.clone(), log.unanchored)).unwrap_or_default()
    }

    /// Moves an artifact of an earlier attempt to the history, never over another one: attempts are
    /// counted anew when the folder changes hands or an artifact was lost.
    /// Gives where it lies now.
    pub(crate) fn archive(&self, name: &ArtifactName, attempt: u32) -> Result<PathBuf, StepError> {
        let history = self.path.join(HISTORY);
        let unwritable = "an earlier artifact cannot be moved aside";
        fs::create_folder(&history).or_reason(Reason::ArtifactUnwritable, unwritable)?;
        let taken = self.history_of(name)?;
        let mut file = format!("{name}.{attempt}.json");
        let mut copy = 1;
        while taken.contains(&file) {
            copy += 1;
            file = format!("{name}.{attempt}-{copy}.json");
        }
        let archived = history.join(file);
        fs::rename(&self.file(name), &archived).or_reason(Reason::ArtifactUnwritable, unwritable)?;
        Ok(archived)
    }

    /// Moves an archived artifact back: nothing could be written in its place, so it is still the newest.
    pub(crate) fn bring_back(&self, name: &ArtifactName, archived: &Path) -> Result<(), StepError> {
        fs::rename(archived, &self.file(name))
            .or_reason(Reason::ArtifactUnwritable, "an earlier artifact cannot be moved back")
    }

    /// Writes an artifact; gives its digest.
    pub(crate) fn write(&self, name: &ArtifactName, bytes: &[u8]) -> Result<Sha256, StepError> {
        let unwritable = || format!("the artifact {name} cannot be written");
        fs::create_folder(&self.path).or_reason(Reason::ArtifactUnwritable, unwritable())?;
        fs::write_atomic(&self.file(name), bytes).or_reason(Reason::ArtifactUnwritable, unwritable())?;
        Ok(Sha256::of(bytes))
    }
}

fn tampered(path: &Path, expected: &Sha256, found: &Sha256) -> StepError {
    StepError::new(
        Reason::ArtifactTampered,
        format!(
            "{} is not the one that was written: its SHA-256 is {}…, not {}…",
            path.display(),
            found.short(),
            expected.short()
        ),
    )
}
