// Package cloudwatchtest has an HTTP server that takes the place of Amazon
// CloudWatch in tests: it decodes what the real SDK sends.
package cloudwatchtest
