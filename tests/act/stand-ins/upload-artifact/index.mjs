// Stands in for actions/upload-artifact v7: the same inputs, refusals and layout, over the runner's service.
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { call, flag, input, matches, run, zip } from "./lib.mjs";

const walk = (path) =>
  statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => walk(join(path, name))) : [path];

// A pattern is a path whose last part may hold `*`.
const found = (pattern) => {
  const path = resolve(pattern);
  if (existsSync(path)) return { root: statSync(path).isDirectory() ? path : dirname(path), files: walk(path) };
  const folder = dirname(path);
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => matches(path, join(folder, name))) : [];
  return { root: folder, files: files.map((name) => join(folder, name)).filter((file) => statSync(file).isFile()) };
};

const common = (folders) =>
  folders.reduce((one, other) => {
    while (relative(one, other).startsWith("..")) one = dirname(one);
    return one;
  });

await run(async () => {
  const name = input("name", "artifact");
  if (/["<>|:*?\r\n\\/]/.test(name)) throw new Error(`The artifact name is not valid: ${name}`);
  const retention = Number(input("retention-days", "0"));
  if (!Number.isInteger(retention) || retention < 0) throw new Error("Invalid retention-days");
  const patterns = input("path").split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (patterns.length === 0) throw new Error("Input required and not supplied: path");
  const [without, wanted] = [patterns.filter((one) => one.startsWith("!")), patterns.filter((one) => !one.startsWith("!"))];
  const excluded = without.flatMap((one) => found(one.slice(1)).files);
  const results = wanted.map(found);
  const hidden = (file) => relative(process.cwd(), file).split("/").some((part) => part.startsWith(".") && part !== "..");
  const files = [...new Set(results.flatMap((result) => result.files))].filter((file) => !excluded.includes(file)).filter((file) => flag("include-hidden-files") || !hidden(file));
  if (files.length === 0) {
    const missing = input("if-no-files-found", "warn");
    const message = `No files were found with the provided path: ${patterns.join(", ")}. No artifacts will be uploaded.`;
    if (missing === "error") throw new Error(message);
    if (missing === "warn") console.log(`::warning::${message}`);
    return;
  }
  if (retention > 90) {
    console.log(`::warning::Retention days cannot be greater than the maximum allowed retention set within the repository. Using 90 instead.`);
  }
  const { artifacts = [] } = await call("ListArtifacts", {});
  if (artifacts.some((one) => one.name === name)) {
    if (!flag("overwrite")) throw new Error("Failed to CreateArtifact: (409) Conflict: an artifact with this name already exists on the workflow run");
    await call("DeleteArtifact", { name });
  }
  const root = results.length === 1 ? results[0].root : common(results.map((result) => result.root));
  const packed = zip(files.sort().map((file) => [relative(root, file), readFileSync(file)]));
  const { signedUploadUrl } = await call("CreateArtifact", { name, version: 4 });
  for (const [query, body] of [["comp=block", packed], ["comp=blocklist", ""]]) {
    const response = await fetch(`${signedUploadUrl}&${query}`, { method: "PUT", body });
    if (!response.ok) throw new Error(`upload: ${response.status}`);
  }
  const digest = createHash("sha256").update(packed).digest("hex");
  const { artifactId } = await call("FinalizeArtifact", { name, size: String(packed.length), hash: `sha256:${digest}` });
  appendFileSync(process.env.GITHUB_OUTPUT, `artifact-id=${artifactId}\nartifact-digest=${digest}\n`);
  console.log(`${name}: ${files.length} files, ${packed.length} bytes`);
});
