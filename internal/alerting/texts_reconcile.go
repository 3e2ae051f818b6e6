package alerting

import (
	"fmt"
	"strings"
)

// Texts of the rules that a reconciliation raises about a content type.

// MassChangeRestored is the text of RuleMassChange for a restored backup.
func MassChangeRestored(plural string, n int64) string {
	return fmt.Sprintf("%s of %s in Strapi are older than the mirror has them: their updatedAt went back. The cause is on Strapi's side: that is what the restore of a backup does. "+
		"No webhook was lost. The mirror and the forecast follow Strapi, but for what another alert says is held back, so they show the older state too. If the restore was meant, nothing is to be done; "+
		"else bring Strapi's data back and run dealbox sync --full", documents(n), plural)
}

// MassChangeColumns is its text for a change of the schema or of a setting.
func MassChangeColumns(plural string, n int64, columns string) string {
	return fmt.Sprintf("%s of %s differ from the mirror in %s alone, and their updatedAt is as it was. The cause is on Strapi's side, or in Dealbox's settings: "+
		"that is what a changed schema, FIELDS setting or script does. No webhook was lost. The mirror and the forecast follow Strapi, but for what another alert says is held back. "+
		"If the change was not meant, undo it and run dealbox sync --full", documents(n), plural, columns)
}

// MassChangeLocales is its text for a type that was localized, or is not any more.
func MassChangeLocales(plural string, n int64) string {
	return fmt.Sprintf("%s of %s have a locale in Strapi and none in the mirror, or the other way round. The cause is on Strapi's side: localization of the type was switched. "+
		"No webhook was lost. The mirror follows; nothing is to be done", documents(n), plural)
}

// EndMassChange is the end of RuleMassChange.
func EndMassChange(plural string) string {
	return fmt.Sprintf("A full reconciliation finds no mass change of %s any more, {lasted} after the first: the mirror has followed", plural)
}

// Emptied is how many documents lost the value of a column.
type Emptied struct {
	Column    string // with Strapi's name, where it has another one
	Documents int64
}

// MassNullGuard is the text of RuleMassNullGuard. held counts the documents that are held back,
// restored those among them whose updatedAt went back; example is a documentId.
func MassNullGuard(plural string, emptied []Emptied, held, restored int64, example string) string {
	var counts []string
	for _, e := range emptied {
		counts = append(counts, fmt.Sprintf("%s of %d", e.Column, e.Documents))
	}
	back := ""
	if restored > 0 {
		back = fmt.Sprintf(" In %d of them updatedAt went back, as after the restore of an old backup.", restored)
	}
	return fmt.Sprintf("Strapi lists %s without a value that they had: %s of them is null, empty, 0 or unreadable there. Often the cause is on Strapi's side: an attribute that was renamed or "+
		"made private, a script, an old backup.%s Dealbox holds %s back: the mirror and the forecast keep their values. Compare one of them in Strapi (%s). "+
		"If its value is wrong there, put that right, and the next full reconciliation ends this. If it is right: dealbox sync --allow-deletes --type %[1]s",
		plural, strings.Join(counts, ", "), back, documents(held), example)
}

// EndMassNullGuard is the end of RuleMassNullGuard; why is what ended it.
func EndMassNullGuard(plural, why string) string {
	return fmt.Sprintf("Dealbox holds no %s back any more for values that they lost, {lasted} after it began: %s", plural, why)
}

// PublishedTwice is the text of RulePublishedTwice; first are the first of n documents.
func PublishedTwice(plural string, n int, first []string) string {
	return fmt.Sprintf("%s of %s %s published twice in Strapi: publish it again. %s. The cause is on Strapi's side: a save that met a bulk publish left two published rows. "+
		"The mirror has what Strapi answers for such a document; all others are mirrored as always", documents(int64(n)), plural, isOrAre(int64(n)), firstOf(first, n))
}

// EndPublishedTwice is the end of RulePublishedTwice.
func EndPublishedTwice(plural string) string {
	return fmt.Sprintf("No document of %s is published twice any more, after {lasted}", plural)
}

// UnreadableRows is the text of RuleUnreadableRows; ids are those of the first of n rows that have one.
func UnreadableRows(plural string, n int, ids []string, reason string) string {
	which := "none of which has an id"
	if len(ids) > 0 {
		which = "row id " + firstOf(ids, n)
	}
	return fmt.Sprintf("Strapi lists rows of %s that are no documents, and Dealbox skips them: %d in all, %s (%s). The cause is on Strapi's side: its REST API or an import made them. "+
		"All others are mirrored, but no deletion of %s is concluded from a reconciliation as long as there is one. Correct the row in Strapi, or delete it there and create the document again",
		plural, n, which, reason, plural)
}

// EndUnreadableRows is the end of RuleUnreadableRows.
func EndUnreadableRows(plural string) string {
	return fmt.Sprintf("Dealbox can use every row of %s again, after {lasted}; deletions are concluded again", plural)
}

// firstOf joins the first of n things.
func firstOf(first []string, n int) string {
	shown := min(len(first), 5)
	joined := strings.Join(first[:shown], ", ")
	if n > shown {
		joined += fmt.Sprintf(" and %d more", n-shown)
	}
	return joined
}
