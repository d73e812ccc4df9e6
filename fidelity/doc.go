// Package fidelity holds the stand-in githubtest, and the library, against
// parties that nobody of this project wrote:
//
//   - GitHub's OpenAPI descriptions of api.github.com and of GitHub Enterprise
//     Server (npm package @octokit/openapi): every operation the stand-in has in
//     common with them is driven into each documented status, and every request
//     and answer of every test here is validated;
//   - @octokit/auth-app, run by node, which recognises GitHub's refusals by their
//     exact texts;
//   - google/go-github and bradleyfalzon/ghinstallation, and git with a token that
//     the latter minted;
//   - our own library side by side with them: same endpoints, same schemes of
//     authorization, same bodies.
//
// The npm packages are brought by "npm ci" in this directory; without them, or
// without node, the tests fail.
package fidelity
