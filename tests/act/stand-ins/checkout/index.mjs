// Stands in for actions/checkout v7: a clone of the repository that the test names, at the wanted ref.
import { execFileSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { flag, input, run } from "./lib.mjs";

const git = (...args) => execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();

await run(async () => {
  if (flag("persist-credentials")) throw new Error("persist-credentials must be false in every workflow here");
  const depth = Number(input("fetch-depth", "1"));
  const ref = input("ref", process.env.GITHUB_SHA);
  git("init", "--quiet", ".");
  git("remote", "add", "origin", `file://${process.env.ACT_TEST_REPO}`);
  // What was asked for, as the action fetches it: all of history with depth 0, else the one commit.
  if (depth === 0) {
    git("fetch", "--quiet", "--prune", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*");
  } else {
    git("fetch", "--quiet", "--no-tags", `--depth=${depth}`, "origin", ref);
  }
  // A branch is one of the origin's, a tag is a tag.
  const places = depth === 0 ? [`refs/remotes/origin/${ref}`, ref] : ["FETCH_HEAD"];
  const found = (place) => {
    try {
      return git("rev-parse", "--verify", "--quiet", "--end-of-options", `${place}^{commit}`);
    } catch {
      return undefined;
    }
  };
  const wanted = places.map(found).find((commit) => commit !== undefined);
  if (!wanted) throw new Error(`A branch or tag with the name '${ref}' could not be found`);
  git("checkout", "--quiet", "--force", wanted);
  appendFileSync(process.env.GITHUB_OUTPUT, `ref=${ref}\ncommit=${wanted}\n`);
});
