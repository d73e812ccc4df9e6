// Package browser goes through the pages of ghapp setup, and looks at those of status, in a
// real Chromium, headless, with the stand-in githubtest in place of GitHub:
//
//   - the whole way with the real programs, from no configuration to a clone, with two
//     clicks; without JavaScript; and with the keyboard alone;
//   - every page in light and dark, wide and in 360 pixels: no scrolling sideways,
//     enough contrast, what a screen reader is told, what moves;
//   - the pages of status likewise, without JavaScript, and what is searched for there;
//   - pages of other origins, which achieve nothing.
//
// Screenshots of what was seen go to the directory that $CI_ARTIFACTS names, or else to
// build/screenshots. The package is a module of its own, so that the driver of the
// browser is no dependency of anything else. It needs the program chromium.
package browser
