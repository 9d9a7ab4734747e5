//! Programs of the user's around the exchange: maintenance on before, off after.

use kit_contract::body::Restore;
use kit_contract::config::Hook;
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Cancel, Context, StepError};
use kit_exec::Command;
use kit_step::StepContext;

/// What the program afterwards is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All databases are the restored ones.
    Restored,
    /// All databases are where they were.
    Unchanged,
    /// Some are restored and some are not, or nobody knows.
    Stuck,
}

impl Ending {
    /// How the exchange ended. Pure.
    pub(crate) fn of<T>(swapped: &Result<T, StepError>) -> Self {
        match swapped {
            Ok(_) => Self::Restored,
            Err(error) if error.reason == Reason::LeftChanged => Self::Stuck,
            Err(_) => Self::Unchanged,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Unchanged => "unchanged",
            Self::Stuck => "stuck",
        }
    }
}

/// The programs, and what they are told.
pub(crate) struct Hooks<'a> {
    pub(crate) cx: &'a StepContext<Restore>,
    pub(crate) subject: &'a DeploymentId,
    pub(crate) databases: &'a [Name],
}

impl Hooks<'_> {
    /// Runs the one before. From then on the one after must be run.
    pub(crate) async fn before(&self) -> Result<(), StepError> {
        let Some(hook) = &self.cx.config().restore.before_swap else { return Ok(()) };
        self.in_danger();
        self.run("before_swap", hook, &[], self.cx.context()).await
    }

    /// Runs the one after, also if the step was told to stop. What fails here needs a human: the programs that use the
    /// database may stay stopped.
    pub(crate) async fn after(&self, ending: Ending) -> Result<(), StepError> {
        let hook = self.cx.config().restore.after_swap.as_ref();
        if let Some(hook) = hook {
            if ending != Ending::Stuck {
                self.in_danger();
            }
            let cx = Context { cancel: Cancel::default(), ..self.cx.context().clone() };
            self.run("after_swap", hook, &[("DEPLOY_KIT_RESTORE_RESULT", ending.as_str())], &cx).await?;
        }
        // What is wrong with the databases stays so, whatever the program did.
        if ending != Ending::Stuck {
            self.cx.out_of_danger();
        }
        Ok(())
    }

    /// The end of an exchange, after the program that is run after it.
    pub(crate) async fn end<T>(&self, swapped: Result<T, StepError>) -> Result<T, StepError> {
        let after = self.after(Ending::of(&swapped)).await;
        match (swapped, after) {
            (swapped, Ok(())) => swapped,
            (Ok(_), Err(after)) => Err(after.hint("the databases themselves are restored")),
            (Err(error), Err(after)) => {
                let also = format!("and after that, after_swap: {}", after.chain());
                Err(error.hint(also))
            }
        }
    }

    fn in_danger(&self) {
        let Some(hook) = &self.cx.config().restore.after_swap else { return };
        self.cx.in_danger(
            "what before_swap stopped may still be stopped, because after_swap did not succeed",
            format!(
                "look at the databases, then run what after_swap would have done: {}",
                hook.command.join(" ")
            ),
        );
    }

    async fn run(
        &self,
        name: &str,
        hook: &Hook,
        told: &[(&str, &str)],
        cx: &Context,
    ) -> Result<(), StepError> {
        let program = hook.command.first().cloned().unwrap_or_default();
        cx.out.say(&format!("{name}: {}", hook.command.join(" ")));
        let databases = self.databases.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
        let mut command = Command::new(&program)
            .args(hook.command.iter().skip(1).map(String::as_str))
            .current_folder(self.cx.resolve("."))
            .env("DEPLOY_KIT_RESTORE_DEPLOYMENT", self.subject.as_str())
            .env("DEPLOY_KIT_RESTORE_DATABASES", databases)
            .deadline(hook.timeout.duration());
        for (variable, value) in told {
            command = command.env(*variable, *value);
        }
        match command.run(cx).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = StepError::from(error);
                let message = format!("restore.{name} failed");
                let hints = error.hints.clone();
                let wrapped = StepError::new(error.reason, message).because(error.chain());
                Err(hints.into_iter().fold(wrapped, StepError::hint))
            }
        }
    }
}
