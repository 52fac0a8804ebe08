// Signs a link into a course of nbgate. JavaScript on the server (Node 20 or newer) without packages;
// docs/links.md has the form. Never in a browser: the secret would be everybody's.
//
//     import { signedLink } from "./sign.mjs";
//     const link = signedLink({ origin: "https://nb.example.org", kid, secret,
//                               names: ["demo", "w1", "first.ipynb", student] });
//
// Run as a program it signs what it reads, as JSON, from standard input.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const encoded = (text) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => "%" + char.charCodeAt(0).toString(16).toUpperCase());

const sorted = (parameters) =>
  Object.entries(parameters).sort(([one], [other]) => (one < other ? -1 : 1));

const isName = (name) => !["", ".", ".."].includes(name) && !/[/\\]|\p{Cc}/u.test(name);

const isParameter = ([name, value]) =>
  !["kid", "exp", "sig"].includes(name) && /^[A-Za-z0-9._~-]{1,64}$/.test(name) && !/\p{Cc}/u.test(value);

/**
 * Returns a link that opens a notebook for a student.
 *
 * @param {object} given
 * @param {string} given.origin `https://host` of the gateway.
 * @param {string} given.kid the key's id.
 * @param {string} given.secret the key's secret, as `nbgate link key add` prints it.
 * @param {string[]} given.names course, then folders and name of the notebook, then the student.
 * @param {number} given.lifetime seconds.
 * @param {object} given.more `name` (what pages call the student), `nonce` (for one use), or anything
 *     that Jupyter is to get.
 * @param {number} given.now seconds since the epoch; the clock's if it is left out.
 * @throws {RangeError} with such a name another link would have the same signature.
 */
export function signedLink({ origin, kid, secret, names, lifetime = 600, more = {},
                             now = Math.floor(Date.now() / 1000) }) {
  if (names.length < 2 || !names.every(isName)) {
    throw new RangeError("names: a slash, a control character, or nothing");
  }
  if (!Object.entries(more).every(isParameter)) {
    throw new RangeError("more: a parameter's name, or a control character");
  }
  const segments = ["gateway", "open", ...names];
  const parameters = { ...more, kid, exp: String(now + lifetime) };
  const lines = sorted(parameters).map(([name, value]) => `${name}=${value}`);
  const text = ["nbgate-link-1", "/" + segments.join("/"), ...lines].join("\n");
  parameters.sig = createHmac("sha256", secret).update(text, "utf8").digest("hex");
  const query = sorted(parameters).map(([name, value]) => `${name}=${encoded(value)}`).join("&");
  return `${origin}/${segments.map(encoded).join("/")}?${query}`;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log(signedLink(JSON.parse(readFileSync(0, "utf8"))));
}
