package alerting

import "strings"

// SubjectUnnamed is the subject of RuleBodyQuarantined for webhooks that are about a
// document and do not name it, nor its type. A full reconciliation of all types that began
// after the last one ends the episode. Other subjects of the rule end by hand. The function
// inbox_drop_day knows this text, too: it keeps the webhooks while their episode is open.
const SubjectUnnamed = "no document is named"

// SubjectUnnamedOf is SubjectUnnamed where the type is known, by its REST plural. A full
// comparison of the type ends the episode.
func SubjectUnnamedOf(plural string) string { return SubjectUnnamed + ": " + plural }

// TypeOfUnnamed returns the REST plural in a subject that SubjectUnnamedOf made.
func TypeOfUnnamed(subject string) (plural string, ok bool) {
	return strings.CutPrefix(subject, SubjectUnnamedOf(""))
}
