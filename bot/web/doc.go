// Package web is every door of frontdesk: the API for other systems, the console
// for people, and the pages that say whether it is well.
//
// It promises one table of routes with the role each needs, problem+json with a
// code for every error of the API, a plain sentence for every error of the
// console, and that no error text of the inside, no message and no number leaves
// through a log. Handlers ask one thing of a lower floor and render.
package web
