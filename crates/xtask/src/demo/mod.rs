//! `cargo xtask demo`: a real release of `examples/storefront` through every step, as separate processes.
//!
//! Everything lives below `target/demo/`. Each command is printed so that it can be repeated by hand, and
//! what is claimed at the end was observed: at the router, in the record, in the chain.

mod check;
mod crash;
mod shop;

use crate::error::Error;
use crate::workspace::Workspace;
use shop::Shop;
use std::time::Instant;

/// What to show.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Deploy a version that fails a part of its requests; passes only if its withdrawal was observed
    #[arg(long)]
    bad_release: bool,
    /// Kill the run at this step (validate, preflight, …, rollout-canary, gate-full, …), then put it right
    #[arg(long, value_name = "STEP", conflicts_with = "bad_release")]
    crash_at: Option<String>,
    /// Leave the shop running at the end, to look around
    #[arg(long)]
    keep: bool,
}

/// Runs the demo; `Ok(false)` if something that it promises was not observed.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool, Error> {
    if let Some(step) = &args.crash_at
        && !crash::is_step(step)
    {
        eprintln!(
            "error: --crash-at {step:?} is no step of the pipeline: use one of {}",
            crash::steps().join(", ")
        );
        return Ok(false);
    }
    println!("== building the steps and the shop");
    if !workspace.show(&["cargo", "build", "--locked", "-p", "deploy-kit", "-p", "storefront"], &[])? {
        return Ok(false);
    }
    let started = Instant::now();
    let shop = Shop::open(workspace)?;
    let outcome = tell(&shop, args);
    if args.keep {
        println!("\nthe shop is still running; end it with:\n  {}", shop.stop_command());
    } else {
        shop.stop()?;
    }
    let passed = outcome?;
    println!(
        "\n== {} after {:.1} s",
        if passed { "as promised," } else { "NOT as promised," },
        started.elapsed().as_secs_f64()
    );
    Ok(passed)
}

fn tell(shop: &Shop, args: &Args) -> Result<bool, Error> {
    println!("\n== version 1.4.0 serves; nobody has written that down yet");
    let adopted =
        shop.deploy_kit(&["deploy-record", "adopt", "--running-version", "1.4.0", "--artifacts", "adopt"])?;
    if !adopted {
        return Ok(false);
    }
    let fail_percent = if args.bad_release { "30" } else { "0" };
    println!("\n== version 2.0.0 is started beside it, without traffic");
    shop.start_version("2.0.0", fail_percent)?;
    println!("\n== the deploy");
    match (&args.crash_at, args.bad_release) {
        (Some(step), _) => crash::show(shop, step),
        (None, true) => {
            let succeeded = shop.deploy_kit(&["deploy", "v2.0.0", "--artifacts", "artifacts"])?;
            if succeeded {
                eprintln!("the bad release was deployed");
                return Ok(false);
            }
            check::withdrawn(shop)
        }
        (None, false) => {
            let succeeded = shop.deploy_kit(&["deploy", "v2.0.0", "--artifacts", "artifacts"])?;
            Ok(succeeded && check::deployed(shop)?)
        }
    }
}
