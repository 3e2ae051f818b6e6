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
		if stored, err := isStored(ctx, db, dbsqlc.EventAsideParams{Event: f.Event}); err != nil || !stored {
			return orUnknown(err, "event", "name", f.Event, knownEvents)
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
	if stored, err := isStored(ctx, db, dbsqlc.EventAsideParams{Entity: f.Entity}); err != nil || !stored {
		return orUnknown(err, "entity", "type", f.Entity, models)
	}
	return nil
}

// newestAside bounds where a name is looked for, in events.
const newestAside = 10_000

// isStored reports whether one of the newest events that were ignored or quarantined has
// the name: one that Dealbox processes has a known event and type.
func isStored(ctx context.Context, db dbsqlc.DBTX, name dbsqlc.EventAsideParams) (bool, error) {
	name.MaxRows = newestAside
	return dbsqlc.New().EventAside(ctx, db, name)
}

func orUnknown(err error, field, noun, name string, known []string) error {
	if err != nil {
		return fmt.Errorf("look a name up: %w", err)
	}
	problem := fmt.Sprintf("no known event has the %s %q", noun, text.Line(name, 40))
	if len(known) > 0 {
		problem += "; there are " + strings.Join(known, ", ")
	}
	return &paging.FieldError{Field: field, Problem: problem}
}
