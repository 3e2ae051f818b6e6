package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/strapi"
)

// missingError says that Strapi does not show what a type is mirrored with. It speaks
// about the type and not about a document: to write its rows would make null of what is gone.
type missingError struct {
	t strapi.ContentType
	// names are attributes and relations, by Strapi's names; hidden are relations that
	// Strapi dropped without a word, as it does where the token may not read their target.
	names, hidden []string
}

func (e missingError) Error() string {
	if len(e.names) == 0 {
		return fmt.Sprintf("Strapi leaves the relation %s out of %s: the token may not read the type on its other side", strings.Join(e.hidden, ", "), e.t.Plural)
	}
	return fmt.Sprintf("Strapi does not show %s of %s", strings.Join(slices.Concat(e.names, e.hidden), ", "), e.t.Plural)
}

func isMissing(err error) bool {
	_, ok := errors.AsType[missingError](err)
	return ok
}

// isHidden reports whether nothing but relations is missing, which speaks about the token.
func isHidden(err error) bool {
	e, ok := errors.AsType[missingError](err)
	return ok && len(e.names) == 0
}

// alert returns the alert about the error.
func (e missingError) alert() alerting.Alert {
	setting := FieldsSetting(e.t.Kind)
	a := alerting.Alert{
		Rule: alerting.RuleAttributeMissing, Subject: e.t.Plural, Level: level.Critical,
		Details: map[string]any{"type": e.t.UID, "attributes": e.names, "relations": e.hidden, "setting": setting},
	}
	if isHidden(e) {
		a.Rule, a.Subject = alerting.RuleStrapiTokenRefused, ""
		a.Message = alerting.RelationHidden(strings.Join(e.hidden, ", "), e.t.Plural, setting, strings.Join(ourNames(e.t, e.hidden), "= and ")+"=")
		return a
	}
	ours := ourNames(e.t, e.names)
	theirs, columns := make([]string, len(ours)), make([]string, len(ours))
	for i, name := range ours {
		theirs[i], columns[i] = e.t.Field(name), columnOf(e.t, name)
	}
	a.Message = alerting.AttributeMissing(strings.Join(theirs, ", "), e.t.Plural, e.t.UID, strings.Join(columns, ", "), setting, ours[0])
	return a
}

// columnOf names the column of a field. A relation is the link of a billing, seen from either side.
func columnOf(t strapi.ContentType, ours string) string {
	if IsRelation(t, ours) {
		return "billing.deal_document_id"
	}
	return string(t.Kind) + "." + ours
}

// ourNames returns our names of Strapi's.
func ourNames(t strapi.ContentType, theirs []string) []string {
	var ours []string
	for _, name := range mappedNames(t) {
		if slices.Contains(theirs, t.Field(name)) {
			ours = append(ours, name)
		}
	}
	return ours
}

// FieldsSetting is the setting that maps the fields of a kind.
func FieldsSetting(k strapi.Kind) string {
	if k == strapi.Deal {
		return "STRAPI_DEAL_FIELDS"
	}
	return "STRAPI_BILLING_FIELDS"
}

// reportUnknown warns of attributes that a setting names and that Strapi has never shown,
// once a process and change. Their columns are null, which may well be a slip of the pen.
func (w *SyncWorker) reportUnknown(ctx context.Context, t strapi.ContentType) error {
	k, err := w.source.shownOf(ctx, t)
	if err != nil {
		return err
	}
	alert, isUnknown := unknownAlert(t, k)
	last, reported := w.unknown[t.UID]
	if reported && last == alert.Message {
		return nil
	}
	if !reported {
		if err := w.source.forgetUnmapped(ctx, t); err != nil {
			return err
		}
		if err := w.resolveUnmapped(ctx, t); err != nil {
			return err
		}
	}
	if !isUnknown {
		err = w.resolve(ctx, alerting.RuleAttributeUnknown, t.Plural, alerting.EndAttributeUnknown(t.Plural))
	} else {
		err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			_, err := w.alerts.Raise(ctx, tx, alert)
			return err
		})
	}
	if err == nil {
		w.unknown[t.UID] = alert.Message
	}
	return err
}

// resolveUnmapped ends the episodes about values of fields that are mapped to nothing: no
// sync of their documents would have to write anything.
func (w *SyncWorker) resolveUnmapped(ctx context.Context, t strapi.ContentType) error {
	for _, ours := range slices.Concat(fieldsOf(t.Kind), slices.Sorted(maps.Keys(t.Fields))) {
		if t.Field(ours) != "" {
			continue
		}
		err := w.resolve(ctx, alerting.RuleValueUnreadable, unreadableSubject(t, ours), alerting.EndValueUnmapped(ours, t.Plural, FieldsSetting(t.Kind)))
		if err != nil {
			return err
		}
	}
	return nil
}

func unknownAlert(t strapi.ContentType, k *shown) (alerting.Alert, bool) {
	var parts []string
	setting, ours := FieldsSetting(t.Kind), k.unknown(t)
	for _, name := range ours {
		parts = append(parts, alerting.AttributeUnknown(setting, name, t.Field(name), t.Plural))
	}
	if k.hides(updatedAt) {
		parts = append(parts, alerting.UpdatedAtHidden(t.Plural))
	}
	return alerting.Alert{
		Rule: alerting.RuleAttributeUnknown, Subject: t.Plural, Level: level.Warning,
		Message: strings.Join(parts, ". "), Details: map[string]any{"type": t.UID, "fields": ours, "setting": setting},
	}, len(parts) > 0
}
