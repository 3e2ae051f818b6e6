package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

const (
	checkStrapi = "strapi"
	checkToken  = "strapi token"
)

// typeProbe is how Strapi answered about one content type.
type typeProbe struct {
	contentType strapi.ContentType
	listErr     error // of the list; nil when it can be read
	// documentErr is why no document could be read; errNoDocument when there is none.
	documentErr error
	document    strapi.Document
	// refused are the attributes and relations, by Strapi's names, that it does not know
	// or does not show.
	refused []string
	// unreadable has the first value of each field that cannot be read, in a page of documents.
	unreadable map[string]string
}

var errNoDocument = errors.New("there is no published document yet")

// strapi examines the address, the token and each content type. It asks for every
// type at the same time.
func (d doctor) strapi(ctx context.Context) []Finding {
	if name, isWrong := d.wrong("STRAPI_URL", "STRAPI_API_TOKEN", "STRAPI_DEAL_TYPES", "STRAPI_BILLING_TYPES", "STRAPI_DEAL_FIELDS", "STRAPI_BILLING_FIELDS"); isWrong {
		return []Finding{skipped(checkStrapi, "it needs a correct "+name+", see above"), skipped(checkToken, "it needs a correct "+name+", see above")}
	}
	client, err := d.strapiClient(nil)
	if err != nil {
		return []Finding{failed(checkStrapi, err.Error(), "Check STRAPI_URL and STRAPI_API_TOKEN.")}
	}
	types := d.config.Strapi.Types
	probes := make([]typeProbe, len(types))
	var wait sync.WaitGroup
	for i, t := range types {
		wait.Go(func() { probes[i] = probeType(ctx, client, t) })
	}
	wait.Wait()
	if everyRouteIsMissing(probes) {
		return d.missingRoutes(ctx, probes)
	}
	return strapiFindings(d.config.Strapi.URL, probes)
}

// strapiClient returns a client whose requests are shorter than an examination.
func (d doctor) strapiClient(transport http.RoundTripper) (*strapi.Client, error) {
	return d.strapiClientAt(d.config.Strapi.URL, transport)
}

func (d doctor) strapiClientAt(address string, transport http.RoundTripper) (*strapi.Client, error) {
	s := d.config.Strapi
	return strapi.New(strapi.Config{
		BaseURL: address, Token: s.APIToken.Reveal(), Timeout: min(s.Timeout, examineTimeout/3),
		UserAgent: "dealbox/" + d.version + " (doctor)", Transport: transport,
	})
}

// probeType reads the list, with each relation by itself, then one document.
func probeType(ctx context.Context, client *strapi.Client, t strapi.ContentType) typeProbe {
	p := typeProbe{contentType: t}
	if p.listErr = client.CheckList(ctx, t, strapi.Query{}); p.listErr != nil {
		return p
	}
	query, refused, err := mirror.Probe(ctx, client, t)
	if p.refused = refused; err != nil {
		p.documentErr = err
		return p
	}
	// More than one row, for the case that the first is none that Dealbox can use.
	page, err := client.List(ctx, t, strapi.ListQuery{Query: query, Version: strapi.Published, PageSize: 25})
	p.unreadable = unreadable(t, page.Documents)
	switch {
	case err != nil:
		p.documentErr = err
	case len(page.Documents) == 0:
		p.documentErr = errNoDocument
	default:
		first := page.Documents[0]
		// By itself, because the token may list documents and not read one.
		p.document, p.documentErr = client.Document(ctx, t, first.DocumentID, first.Locale, strapi.Published, query)
	}
	return p
}

// unreadable returns why a value cannot be read, by our names, with its document.
func unreadable(t strapi.ContentType, docs []strapi.Document) map[string]string {
	reasons := map[string]string{}
	for _, doc := range slices.Backward(docs) {
		var problems []mirror.Unreadable
		if t.Kind == strapi.Deal {
			_, problems = mirror.DealRow(t, mirror.Key{}, strapi.Published, doc)
		} else {
			_, problems = mirror.BillingRow(t, "", mirror.Key{}, strapi.Published, doc)
		}
		for _, u := range problems {
			reasons[u.Field] = "of document " + doc.DocumentID + " " + u.Attribute + " " + u.Reason
		}
	}
	return reasons
}

// relationsOf returns Strapi's names of a type's mapped relations.
func relationsOf(t strapi.ContentType) []string {
	var names []string
	for ours, theirs := range t.Fields {
		if theirs != "" && isRelation(t, ours) {
			names = append(names, theirs)
		}
	}
	slices.Sort(names)
	return names
}

// strapiFindings returns the findings about the address, about the token, then two
// about each type.
func strapiFindings(address string, probes []typeProbe) []Finding {
	findings := []Finding{addressFinding(address, probes), tokenFinding(probes)}
	for _, p := range probes {
		findings = append(findings, listFinding(p), fieldsFinding(p))
	}
	return findings
}

// addressFinding: any answer at all shows that this machine reaches the address.
func addressFinding(address string, probes []typeProbe) Finding {
	for _, p := range probes {
		if p.listErr == nil {
			return ok(checkStrapi, address+" answers")
		}
	}
	err := probes[0].listErr
	switch strapi.KindOf(err) {
	case strapi.Refused, strapi.MissingRoute, strapi.NotFound, strapi.Rejected:
		return ok(checkStrapi, address+" answers")
	case strapi.Unavailable:
		return failed(checkStrapi, err.Error(), "Check Strapi's log and the proxy in front of it.")
	case strapi.Unreadable:
		return failed(checkStrapi, err.Error(), "Point STRAPI_URL to Strapi 5 itself: without a path its REST API is at <STRAPI_URL>/api.")
	case strapi.Blocked:
		return failed(checkStrapi, err.Error(), "Let GET requests from this machine's address pass in the firewall, CDN or proxy in front of Strapi. The API token may well be right.")
	}
	return failed(checkStrapi, err.Error(), "Check STRAPI_URL, that Strapi runs, and that this machine may connect to it.")
}

func tokenFinding(probes []typeProbe) Finding {
	for _, p := range probes {
		if p.listErr == nil || refusedWith(p.listErr) == http.StatusForbidden {
			return ok(checkToken, "accepted")
		}
	}
	for _, p := range probes {
		if refusedWith(p.listErr) == http.StatusUnauthorized {
			return failed(checkToken, "Strapi refuses the token (401)",
				"Make a read-only API token in Strapi (Settings, API Tokens) and set STRAPI_API_TOKEN to it; tokens can expire.")
		}
	}
	return skipped(checkToken, "Strapi's answer cannot be used, see the check strapi")
}

func listFinding(p typeProbe) Finding {
	t, check := p.contentType, "type "+p.contentType.UID
	if p.listErr == nil {
		return ok(check, t.Plural+" can be read")
	}
	switch kind := strapi.KindOf(p.listErr); {
	case refusedWith(p.listErr) == http.StatusUnauthorized:
		return skipped(check, "the token is refused")
	case kind == strapi.Refused:
		return failed(check, "the token may not read "+t.Plural, "Give the token find and findOne of "+t.UID+", or take a read-only token.")
	case kind == strapi.MissingRoute, kind == strapi.NotFound:
		return failed(check, "Strapi has no route for "+t.Plural,
			"Correct the REST plural (pluralName in the type's schema.json) in "+typesSetting(t.Kind)+"; or create the type.")
	case kind == strapi.Unreachable, kind == strapi.Unavailable, kind == strapi.Unreadable, kind == strapi.Blocked:
		return skipped(check, "Strapi's answer cannot be used, see the check strapi")
	}
	return failed(check, p.listErr.Error(), "Check Strapi's log.")
}

// refusedWith returns the status with which Strapi itself refused the token; 0 when it did
// not. A 401 or 403 of a firewall says nothing about the token.
func refusedWith(err error) int {
	if e, ok := errors.AsType[*strapi.Error](err); ok && e.Kind == strapi.Refused {
		return e.Status
	}
	return 0
}

// essential attributes: without them the forecast ignores a document.
var essential = map[strapi.Kind][]string{
	strapi.Deal:    {"deal_value", "status"},
	strapi.Billing: {"amount"},
}

// fieldsFinding reports mapped attributes that the type lacks. A document of Strapi's
// REST API has every attribute, null ones too, so an absent one does not exist.
func fieldsFinding(p typeProbe) Finding {
	t, check := p.contentType, "fields "+p.contentType.UID
	switch {
	case p.listErr != nil:
		return skipped(check, "the type cannot be read")
	case len(p.relations(p.isRefused)) > 0:
		return failed(check, "Strapi does not populate the relation "+strings.Join(p.relations(p.isRefused), ", "), fixRelations(p))
	}
	lacking, isEmpty := lackingFields(p), errors.Is(p.documentErr, errNoDocument) || strapi.KindOf(p.documentErr) == strapi.NotFound
	switch {
	case isEmpty && len(lacking) == 0:
		return skipped(check, errNoDocument.Error())
	case !isEmpty && p.documentErr != nil:
		return failed(check, p.documentErr.Error(), "Give the token findOne of "+t.UID+", or check Strapi's log.")
	case !isEmpty && len(p.relations(p.isAbsent)) > 0:
		return failed(check, "Strapi leaves the relation "+strings.Join(p.relations(p.isAbsent), ", ")+" out of its answer: the token may not read the type on its other side",
			"Give the token find and findOne on that type, too; until then the documents of "+t.Plural+" wait.")
	case len(lacking) == 0 && len(p.unreadable) > 0:
		return warn(check, "values cannot be read, so they are null in Dealbox: "+joinSorted(p.unreadable),
			"Correct the values in Strapi, or map other attributes in "+fieldsSetting(t.Kind)+".")
	case len(lacking) == 0:
		return ok(check, fmt.Sprintf("%d mapped attributes exist", mappedCount(t)))
	}
	detail := "the type has no " + strings.Join(lacking, ", ")
	for _, ours := range essential[t.Kind] {
		if slices.Contains(lacking, fieldText(ours, t.Field(ours))) {
			return failed(check, detail+"; without "+ours+" the forecast ignores its documents", fixFields(t))
		}
	}
	return warn(check, detail+": null in Dealbox", fixFields(t))
}

func joinSorted(reasons map[string]string) string {
	all := slices.Collect(maps.Values(reasons))
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// relations returns Strapi's names of the mapped relations that a condition holds for.
func (p typeProbe) relations(condition func(name string) bool) []string {
	return slices.DeleteFunc(relationsOf(p.contentType), func(name string) bool { return !condition(name) })
}

func (p typeProbe) isRefused(name string) bool { return slices.Contains(p.refused, name) }

// isAbsent reports whether the document of the probe lacks an attribute.
func (p typeProbe) isAbsent(name string) bool {
	_, found := strapi.Attribute(p.document, name)
	return p.documentErr == nil && found == strapi.Absent
}

func lackingFields(p typeProbe) []string {
	var lacking []string
	for _, ours := range slices.Sorted(maps.Keys(p.contentType.Fields)) {
		theirs := p.contentType.Field(ours)
		if theirs != "" && !isRelation(p.contentType, ours) && (p.isRefused(theirs) || p.isAbsent(theirs)) {
			lacking = append(lacking, fieldText(ours, theirs))
		}
	}
	return lacking
}

// fieldText names an attribute of Strapi, and Dealbox's field where it differs.
func fieldText(ours, theirs string) string {
	if ours == theirs {
		return theirs
	}
	return theirs + " (field " + ours + " of Dealbox)"
}

func mappedCount(t strapi.ContentType) int {
	n := 0
	for _, theirs := range t.Fields {
		if theirs != "" {
			n++
		}
	}
	return n
}

func typesSetting(k strapi.Kind) string {
	if k == strapi.Deal {
		return "STRAPI_DEAL_TYPES"
	}
	return "STRAPI_BILLING_TYPES"
}

func fixFields(t strapi.ContentType) string {
	return "Name the attributes in " + fieldsSetting(t.Kind) + " (field of Dealbox=attribute, component.attribute or relation.attribute; 'field=' when the type has none), " +
		"or remove 'private' from them in Strapi, or give the token find on the type that a path leads to."
}

func fixRelations(p typeProbe) string {
	t, all := p.contentType, make([]string, 0, len(p.refused))
	for ours, theirs := range t.Fields {
		if p.isRefused(theirs) && isRelation(t, ours) {
			all = append(all, ours+"=")
		}
	}
	slices.Sort(all)
	return "Set " + strings.Join(all, "… , ") + "… in " + fieldsSetting(t.Kind) +
		" to the relation's name, or to nothing when there is none; and let the token read the type on its other side."
}

func isRelation(t strapi.ContentType, ours string) bool { return mirror.IsRelation(t, ours) }

func fieldsSetting(k strapi.Kind) string { return mirror.FieldsSetting(k) }
