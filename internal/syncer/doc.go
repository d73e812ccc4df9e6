// Package syncer is what `ghapp sync` runs: it keeps several directories at their commits, once
// or for as long as the process lives. It opens the Apps of their repositories, asks which
// commits are wanted ([refs]), has them published ([deploy]) when it is time ([watch]), and
// answers git's questions for a credential meanwhile. A process that watches also takes
// webhooks, serves its state and its metrics, sends notices, and reads its configuration anew.
package syncer
