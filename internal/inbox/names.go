package inbox

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/paging"
	"dealbox/internal/text"
)

// knownEvents are those that Strapi 5 sends. Others are stored, too.
var knownEvents = []string{
	"entry.create", "entry.update", "entry.delete", "entry.publish", "entry.unpublish", "entry.draft-discard",
	"media.create", "media.update", "media.delete", "releases.publish", "review-workflows.updateEntryStage", "trigger-test",
}

// checkNames returns a *paging.FieldError when the filter, which chose nothing, names an
// event or a type that there is not: a misspelt name must not read as "no events". A type
// that is configured and has no event yet is one.
func (f Filter) checkNames(ctx context.Context, db dbsqlc.DBTX) error {
	if f.Event != "" && !slices.Contains(knownEvents, f.Event) {
		if stored, err := f.anyStored(ctx, db, Filter{Event: f.Event}); err != nil || !stored {
			return orUnknown(err, "event", f.Event, knownEvents)
		}
	}
	if f.Entity == "" {
		return nil
	}
	types, err := dbsqlc.New().EntityTypes(ctx, db)
	if err != nil {
		return fmt.Errorf("list the types: %w", err)
	}
	var models []string
	for _, uid := range types {
		model := uid[strings.LastIndexByte(uid, '.')+1:]
		if f.Entity == uid || f.Entity == model {
			return nil
		}
		models = append(models, model)
	}
	if stored, err := f.anyStored(ctx, db, Filter{Entity: f.Entity}); err != nil || !stored {
		return orUnknown(err, "entity", f.Entity, models)
	}
	return nil
}

// anyStored reports whether an event is stored that a filter of one name chooses. Where
// f names no more than that, it is known already.
func (f Filter) anyStored(ctx context.Context, db dbsqlc.DBTX, one Filter) (bool, error) {
	if one.Event == f.Event && one.Entity == f.Entity && len(f.Statuses) == 0 && f.DocumentID == "" && f.Since.IsZero() && f.Until.IsZero() {
		return false, nil
	}
	one.Limit = 1
	args, err := one.args()
	if err != nil {
		return false, err
	}
	found, err := one.find(ctx, db, args)
	return len(found) > 0, err
}

func orUnknown(err error, field, name string, known []string) error {
	if err != nil {
		return fmt.Errorf("look a name up: %w", err)
	}
	problem := fmt.Sprintf("no stored %s is called %q", field, text.Line(name, 40))
	if len(known) > 0 {
		problem += "; there are " + strings.Join(known, ", ")
	}
	return &paging.FieldError{Field: field, Problem: problem}
}
