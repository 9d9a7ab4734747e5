// Reads every action and workflow with GitHub's own parser; any error of it is one of ours.
import { readFileSync, readdirSync } from "node:fs";
import { register } from "node:module";

// The parser imports its schema as JSON, in a way that bundlers know and node does not.
const hooks = `export async function load(url, context, next) {
  if (!url.endsWith(".json")) return next(url, context);
  const { readFileSync } = await import("node:fs");
  const source = "export default " + readFileSync(new URL(url), "utf8");
  return { format: "module", source, shortCircuit: true };
}`;
register("data:text/javascript," + encodeURIComponent(hooks));

const root = new URL("../../", import.meta.url);
const parser = new URL("target/npm/node_modules/@actions/workflow-parser/dist/", root);
const { parseWorkflow, NoOperationTraceWriter } = await import(new URL("index.js", parser));
const { parseAction } = await import(new URL("actions/action-parser.js", parser));

const list = (folder) => readdirSync(new URL(folder, root), { withFileTypes: true });
const actions = ["action.yml"].concat(
  list("actions/").filter((entry) => entry.isDirectory()).map((entry) => `actions/${entry.name}/action.yml`),
);
const workflows = [".github/workflows/", ...list("examples/").map((entry) => `examples/${entry.name}/.github/workflows/`)]
  .flatMap((folder) => {
    try {
      return list(folder).map((entry) => folder + entry.name);
    } catch (error) {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
      throw error;
    }
  });

let errors = 0;
const check = (path, parse) => {
  const { context } = parse({ name: path, content: readFileSync(new URL(path, root), "utf8") }, new NoOperationTraceWriter());
  for (const error of context.errors.getErrors()) {
    errors += 1;
    console.log(`${path}: ${error.message}`);
  }
};
actions.forEach((path) => check(path, parseAction));
workflows.forEach((path) => check(path, parseWorkflow));

// A parser that finds nothing in a broken file would find nothing in ours either.
const broken = parseWorkflow({ name: "broken.yml", content: "on: push\njobs:\n  a:\n    runs-on: x\n    need: b\n    steps: []\n" }, new NoOperationTraceWriter());
if (broken.context.errors.getErrors().length === 0 || actions.length < 12) {
  errors += 1;
  console.log("the parser does not find what is wrong");
}
console.log(`GitHub's parser: ${actions.length} actions, ${workflows.length} workflows, ${errors} errors`);
process.exitCode = errors === 0 ? 0 : 1;
