//! `validate-tag`: is this a release that may be deployed?
//!
//! The first step of a deploy. It reads the tag (`args`), judges its name (`tag_policy`), asks the
//! clone what is behind it (`repository`), judges that (`commit_policy`), and makes the id that
//! every later artifact carries (`identity`).
#![warn(missing_docs)]

mod args;
mod commit_policy;
mod identity;
mod repository;
mod tag_policy;

pub use args::{Args, Kind};

use commit_policy::{FETCH_ALL, FoundTag, short};
use identity::Id;
use kit_contract::body::{Deployment, ServiceVersion};
use kit_contract::config::{Config, Prereleases, Span};
use kit_contract::{Artifact, Reason};
use kit_core::{ResultExt as _, StepError, random_hex};
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Program, Step, StepContext, markdown_escape,
};
use repository::Repository;
use tag_policy::ReleaseTag;

/// The program.
pub fn program() -> Program {
    Program::new("validate-tag", "Is this tag a release that may be deployed?").step::<ValidateTag>()
}

/// The step.
pub struct ValidateTag;

impl Step for ValidateTag {
    type Args = Args;
    type Body = Deployment;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Is this tag a release that may be deployed?",
        details: "Checks that the tag is a semantic version in the form of release.tag_pattern, that it \
                  exists, has not moved since it started the run, and lies on a release branch where \
                  release.branches asks for one. Makes the deployment's id and writes down what is to be \
                  deployed; every later step reads that. What a shallow clone cannot tell is an error, \
                  never a no and never a yes.",
        examples: &[
            Example { what: "in a run that a tag started", line: "validate-tag" },
            Example { what: "a version, by hand", line: "validate-tag --tag 1.2.3" },
            Example {
                what: "a pre-release for staging",
                line: "validate-tag --tag v1.3.0-rc.1 --environment staging --allow-prerelease",
            },
            Example {
                what: "a branch, to try it out",
                line: "validate-tag --commit main --kind branch --environment staging",
            },
        ],
        reads: &[],
        qualifier: None,
        outputs: &[
            OutputSpec { name: "version", help: "Version, without a leading v" },
            OutputSpec { name: "tag", help: "Tag, as it stands in the repository" },
            OutputSpec { name: "sha", help: "Full id of the commit behind the tag" },
            OutputSpec { name: "prerelease", help: "true if the version is a pre-release, else false" },
            OutputSpec { name: "kind", help: "Why this deployment is made" },
            OutputSpec { name: "stages", help: "The stages of the rollout in order, as a JSON list" },
        ],
        secrets: &[],
        identity: IdentityRule::Creates,
        rerun: "checks everything again and keeps the deployment's id; another tag or commit in the same \
                artifact folder is refused",
        deadline: Span::from_secs(5 * 60),
    };

    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        let allow = config.release.prereleases == Prereleases::Allow;
        vec![("allow-prerelease", allow.to_string())]
    }

    async fn run(args: Args, cx: StepContext<Deployment>) -> Result<Outcome<Deployment>, StepError> {
        let earlier = cx.previous();
        // A run that fails must not make the folder forget whose it is.
        if let Some(body) = earlier.as_ref().and_then(|earlier| earlier.body.clone()) {
            cx.save(body);
        }
        let (release, found, branch, repository) = accepted(&args, &cx).await?;
        let commit = repository.commit(&found.commit).await?;
        let deployment = Deployment {
            git_ref: cx.env.get("GITHUB_REF").map_or_else(|| reference(&args, &release), str::to_owned),
            services: services(cx.config(), &release),
            version: release.version,
            tag: release.tag,
            commit,
            annotated: found.annotated,
            branch,
            kind: args.kind.to_contract(),
            stages: cx.config().stages.iter().map(|stage| stage.name.clone()).collect(),
            config_sha256: cx
                .config()
                .sha256()
                .or_reason(Reason::InternalError, "the configuration has no digest")?,
        };
        let now_s = cx.clock.now().as_second();
        let fresh = random_hex(2).or_reason(Reason::InternalError, "there is no randomness")?;
        let id =
            identity::settle(&deployment, &cx.identity(), args.given.0, earlier.as_ref(), now_s, &fresh)?;
        if let Id::Make(id) = id {
            cx.adopt_id(&id)?;
        }
        let outcome = Outcome::new(Reason::ReleaseAccepted, message(&deployment), deployment);
        Ok(if cx.has_config_file() { outcome } else { outcome.hint(WITHOUT_CONFIG) })
    }

    fn outputs(artifact: &Artifact<Deployment>) -> Vec<(&'static str, String)> {
        // The body of a failed run may be that of the run before.
        let Some(body) = artifact.body.as_ref().filter(|_| artifact.is_go()) else { return Vec::new() };
        vec![
            ("version", body.version.to_string()),
            ("tag", body.tag.clone()),
            ("sha", body.commit.sha.clone()),
            ("prerelease", (!body.version.pre.is_empty()).to_string()),
            ("kind", args::kind_word(body.kind).to_owned()),
            ("stages", stage_list(body)),
        ]
    }

    fn summary(artifact: &Artifact<Deployment>) -> String {
        let Some(body) = artifact.body.as_ref().filter(|_| artifact.is_go()) else { return String::new() };
        let services: Vec<&str> = body.services.iter().map(|service| service.name.as_str()).collect();
        let rows = [
            ("Deployment", artifact.deployment_id.to_string()),
            ("App", format!("{} / {}", artifact.app, artifact.environment)),
            ("Version", body.version.to_string()),
            ("Tag", format!("{} ({})", body.tag, if body.annotated { "annotated" } else { "lightweight" })),
            ("Commit", format!("{} of {}", short(&body.commit.sha), body.commit.committed_at)),
            ("Branch", body.branch.clone().unwrap_or_else(|| "any".to_owned())),
            ("Kind", args::kind_word(body.kind).to_owned()),
            ("Services", if services.is_empty() { "none".to_owned() } else { services.join(", ") }),
        ];
        let mut table = "| | |\n|---|---|\n".to_owned();
        for (name, value) in rows {
            table.push_str(&format!("| {name} | {} |\n", markdown_escape(&value)));
        }
        table
    }
}

const WITHOUT_CONFIG: &str =
    "there is no deploy.toml: the app is called \"app\", has no services, and its tags are v{version}";

/// What is deployed, if it may be: its name, where it is, the release branch that holds it.
async fn accepted<'a>(
    args: &Args,
    cx: &'a StepContext<Deployment>,
) -> Result<(ReleaseTag, FoundTag, Option<String>, Repository<'a>), StepError> {
    let Some(commit) = &args.commit else {
        let release = named_release(args, cx)?;
        let repository = Repository::open(cx.context(), &args.repository).await?;
        let Some(found) = repository.tag(&release.tag).await? else {
            return Err(not_found(&release.tag, repository.is_shallow()));
        };
        let branch = accept_commit(args, cx, &repository, &release, &found).await?;
        return Ok((release, found, branch, repository));
    };
    if args.tag.is_some() {
        return Err(StepError::new(Reason::UsageError, "--tag and --commit are both given")
            .hint("give the tag of a release, or the branch or commit to try out"));
    }
    tag_policy::check_kind(args.kind == Kind::Branch, &cx.identity().environment)?;
    tag_policy::check_commit(commit, args.kind == Kind::Branch)?;
    let repository = Repository::open(cx.context(), &args.repository).await?;
    let Some(found) = repository.commit_of(commit).await? else {
        let error = StepError::new(
            Reason::TagNotFound,
            format!("there is no branch or commit {commit} in this clone"),
        );
        return Err(error
            .hint("a commit is named by its full id, a branch as its origin names it")
            .hint(FETCH_ALL));
    };
    Ok((tag_policy::of_commit(commit, &found.commit)?, found, None, repository))
}

fn reference(args: &Args, release: &ReleaseTag) -> String {
    match &args.commit {
        Some(commit) => format!("refs/heads/{commit}"),
        None => format!("refs/tags/{}", release.tag),
    }
}

/// The release that the inputs or the run name, if its name alone may pass.
fn named_release(args: &Args, cx: &StepContext<Deployment>) -> Result<ReleaseTag, StepError> {
    tag_policy::check_kind(args.kind == Kind::Branch, &cx.identity().environment)?;
    let (text, origin) = tag_policy::choose(args.tag.as_deref(), cx.env.get("GITHUB_REF"))?;
    let release = tag_policy::parse(text, origin, &cx.config().release.tag_pattern)?;
    tag_policy::check_prerelease(&release, args.allow_prerelease)?;
    Ok(release)
}

/// Judges what is behind the tag. Gives the release branch that holds it, where one is asked for.
async fn accept_commit(
    args: &Args,
    cx: &StepContext<Deployment>,
    repository: &Repository<'_>,
    release: &ReleaseTag,
    found: &FoundTag,
) -> Result<Option<String>, StepError> {
    let policy = &cx.config().release;
    let started_by = cx.env.get("GITHUB_REF");
    commit_policy::check_not_moved(&release.tag, found, started_by, cx.env.get("GITHUB_SHA"))?;
    if policy.require_annotated {
        let clobbered = started_by == Some(format!("refs/tags/{}", release.tag).as_str());
        commit_policy::check_annotated(&release.tag, found, clobbered)?;
    }
    if policy.branches.is_empty() || args.kind == Kind::Branch {
        return Ok(None);
    }
    let facts = repository.branches(&policy.branches, &found.commit).await?;
    commit_policy::branch_of(&release.tag, &found.commit, &policy.branches, &facts).map(Some)
}

fn not_found(tag: &str, shallow: bool) -> StepError {
    let error = StepError::new(Reason::TagNotFound, format!("there is no tag {tag} in this clone"));
    if shallow {
        return error.hint(FETCH_ALL);
    }
    error.hint(format!("push the tag, or fetch it: git fetch origin refs/tags/{tag}:refs/tags/{tag}"))
}

/// A workflow of GitHub reads this with `fromJSON`.
fn stage_list(body: &Deployment) -> String {
    let quoted: Vec<String> = body.stages.iter().map(|stage| format!("{:?}", stage.as_str())).collect();
    format!("[{}]", quoted.join(","))
}

/// Every service of the app, at the version of the release.
fn services(config: &Config, release: &ReleaseTag) -> Vec<ServiceVersion> {
    let version = release.version.to_string();
    let of = |name: &kit_contract::Name| ServiceVersion {
        name: name.clone(),
        version: version.clone(),
        digest: None,
    };
    config.services.iter().map(|service| of(&service.name)).collect()
}

fn message(deployment: &Deployment) -> String {
    let on = deployment.branch.as_ref().map(|branch| format!(" on {branch}")).unwrap_or_default();
    let kind = args::kind_word(deployment.kind);
    format!("{} is commit {}{on}, deployed as {kind}", deployment.tag, short(&deployment.commit.sha))
}
