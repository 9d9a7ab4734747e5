// Stands in for actions/download-artifact v8: by name or by pattern, artifacts of the same run only.
import { mkdirSync, writeFileSync, existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { call, flag, input, matches, run, unzip } from "./lib.mjs";

await run(async () => {
  const [name, pattern] = [input("name"), input("pattern")];
  const folder = resolve(input("path", "."));
  const { artifacts = [] } = await call("ListArtifacts", {});
  const wanted = artifacts.filter((one) => (name ? one.name === name : matches(pattern || "*", one.name)));
  if (name && wanted.length === 0) throw new Error(`Unable to download artifact(s): Artifact not found for name: ${name}`);
  const written = new Map();
  for (const artifact of wanted) {
    const { signedUrl } = await call("GetSignedArtifactURL", { name: artifact.name });
    const response = await fetch(signedUrl);
    if (!response.ok) throw new Error(`download of ${artifact.name}: ${response.status}`);
    const into = name || flag("merge-multiple") ? folder : join(folder, artifact.name);
    for (const [path, content] of unzip(Buffer.from(await response.arrayBuffer()))) {
      const file = join(into, path);
      // GitHub's would let them race, and nobody could say which one wins.
      if (written.has(file)) throw new Error(`${path} is in both ${written.get(file)} and ${artifact.name}`);
      written.set(file, artifact.name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content, { mode: 0o644 });
    }
  }
  console.log(`Total of ${wanted.length} artifact(s) downloaded, ${written.size} files, ${existsSync(folder)}`);
});
