// What the stand-ins share: inputs as a runner gives them, artifacts as its service takes them, zip files.
import { deflateRawSync, inflateRawSync } from "node:zlib";

export const input = (name, fallback = "") =>
  (process.env[`INPUT_${name.replaceAll(" ", "_").toUpperCase()}`] ?? "").trim() || fallback;

export const flag = (name) => {
  const text = input(name, "false");
  if (!["true", "false", "True", "False", "TRUE", "FALSE"].includes(text)) throw new Error(`${name} is no boolean: ${text}`);
  return text.toLowerCase() === "true";
};

export const run = async (main) => {
  try {
    await main();
  } catch (error) {
    console.log(`::error::${String(error.message).replaceAll("%", "%25").replaceAll("\n", "%0A")}`);
    process.exitCode = 1;
  }
};

// The run that an artifact belongs to is in the token, as @actions/artifact reads it.
const backend = () => {
  const claims = JSON.parse(Buffer.from(process.env.ACTIONS_RUNTIME_TOKEN.split(".")[1], "base64url"));
  const scope = claims.scp.split(" ").find((one) => one.startsWith("Actions.Results:"));
  const [, run, job] = scope.split(":");
  return { workflowRunBackendId: run, workflowJobRunBackendId: job };
};

export const call = async (method, body) => {
  const url = new URL(`twirp/github.actions.results.api.v1.ArtifactService/${method}`, process.env.ACTIONS_RESULTS_URL);
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${process.env.ACTIONS_RUNTIME_TOKEN}` },
    body: JSON.stringify({ ...backend(), ...body }),
  });
  if (!response.ok) throw new Error(`${method}: ${response.status}`);
  return response.json();
};

const table = Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});
const crc32 = (bytes) => {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 255];
  return (crc ^ 0xffffffff) >>> 0;
};

export const zip = (files) => {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [name, bytes] of files) {
    const packed = deflateRawSync(bytes);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(0x800, 2);
    fields.writeUInt16LE(8, 4);
    fields.writeUInt32LE(crc32(bytes), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(bytes.length, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00", "latin1"), fields, tail.subarray(0, 14), Buffer.from(name));
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), fields, Buffer.from(name), packed]);
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(files.length, 4);
  end.writeUInt16LE(files.length, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...parts, central, Buffer.from("PK\x05\x06", "latin1"), end]);
};

export const unzip = (bytes) => {
  const files = [];
  let at = bytes.readUInt32LE(bytes.length - 6);
  for (let left = bytes.readUInt16LE(bytes.length - 12); left > 0; left--) {
    const [packed, nameLength, extra, comment] = [
      bytes.readUInt32LE(at + 20), bytes.readUInt16LE(at + 28), bytes.readUInt16LE(at + 30), bytes.readUInt16LE(at + 32),
    ];
    const name = bytes.toString("utf8", at + 46, at + 46 + nameLength);
    if (name.startsWith("/") || name.split("/").includes("..")) throw new Error(`a path that leaves the folder: ${name}`);
    const local = bytes.readUInt32LE(at + 42);
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const content = inflateRawSync(bytes.subarray(start, start + packed));
    if (crc32(content) !== bytes.readUInt32LE(at + 16)) throw new Error(`${name} is damaged`);
    files.push([name, content]);
    at += 46 + nameLength + extra + comment;
  }
  return files;
};

// `*` within one part of a path or name, as everything here uses it.
export const matches = (pattern, text) =>
  new RegExp(`^${pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join("[^/]*")}$`).test(text);
