package alerting

// SubjectUnnamed is the subject of RuleBodyQuarantined for webhooks that are about a
// document and do not name it. A full reconciliation that began after the last one ends
// the episode. Other subjects of the rule end by hand.
const SubjectUnnamed = "no document is named"
