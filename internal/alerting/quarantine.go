package alerting

// SubjectUnnamed is the subject of RuleBodyQuarantined for webhooks that are about a
// document and do not name it. A full reconciliation that began after the last one ends
// the episode. Other subjects of the rule end by hand. The function inbox_drop_day knows
// this text, too: it keeps the webhooks while their episode is open.
const SubjectUnnamed = "no document is named"
