package app

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
	"dealbox/internal/text"
)

func needStrapi(s *settings, c *Config) {
	NeedTypes(s, c)
	s.required("STRAPI_URL", "Give the address of Strapi 5, such as https://cms.example.com; with api.rest.prefix where that is not /api, such as https://cms.example.com/rest/v2.")
	if u := s.webURL("STRAPI_URL"); u != nil {
		c.Strapi.URL = u.String()
	}
	token := s.required("STRAPI_API_TOKEN", "Give an API token of Strapi; a read-only one is enough (Settings, API Tokens).")
	s.secrets = append(s.secrets, namedSecret{"STRAPI_API_TOKEN", Secret(token)})
	switch {
	case !visible(token):
		s.wrong("STRAPI_API_TOKEN", "holds a space or a character that no header can carry", "Give the token alone, without 'Bearer '.")
	case token != "" && len(token) < strapi.MinToken:
		s.wrong("STRAPI_API_TOKEN", fmt.Sprintf("is %s long, less than %d", text.Count(int64(len(token)), "byte", "bytes"), strapi.MinToken),
			"Copy it whole from Strapi, which makes tokens of 256 characters.")
	}
	c.Strapi.APIToken = Secret(token)
	// A job has 30 s for all its attempts; the mirror shortens one request to fit.
	c.Strapi.Timeout = s.duration("STRAPI_TIMEOUT", 10*time.Second, 10*time.Millisecond, 5*time.Minute)
	needRetry(s, c)
	needCircuit(s, c)
}

// NeedTypes reads the types alone, for a command that sends Strapi no request.
func NeedTypes(s *settings, c *Config) { c.Strapi.Types = s.contentTypes() }

func needRetry(s *settings, c *Config) {
	r := &c.Retry
	r.MaxRetries = s.integer("RETRY_MAX_RETRIES", 3, 0, 100)
	r.InitialDelay = s.duration("RETRY_INITIAL_DELAY", time.Second, time.Millisecond, time.Hour)
	r.MaxDelay = s.duration("RETRY_MAX_DELAY", time.Minute, time.Millisecond, 24*time.Hour)
	r.Base = s.number("RETRY_EXPONENTIAL_BASE", 2, 1, 10)
	if r.MaxDelay < r.InitialDelay {
		s.wrong("RETRY_MAX_DELAY", fmt.Sprintf("is %s, less than RETRY_INITIAL_DELAY (%s)", r.MaxDelay, r.InitialDelay), "Raise it, or lower RETRY_INITIAL_DELAY.")
	}
}

func needCircuit(s *settings, c *Config) {
	c.Circuit.FailureThreshold = s.integer("CIRCUIT_BREAKER_FAILURE_THRESHOLD", 5, 1, 1000)
	c.Circuit.RecoveryTimeout = s.duration("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", time.Minute, 100*time.Millisecond, 24*time.Hour)
}

const (
	dealTypes      = "STRAPI_DEAL_TYPES"
	billingTypes   = "STRAPI_BILLING_TYPES"
	dealMapping    = "STRAPI_DEAL_FIELDS"
	billingMapping = "STRAPI_BILLING_FIELDS"
)

// contentTypes reads the types and the mapping of their fields: deals first,
// each with a complete Fields map.
func (s *settings) contentTypes() []strapi.ContentType {
	deals := s.types(dealTypes, strapi.Deal, "api::pipeline-deal.pipeline-deal=pipeline-deals")
	billings := s.types(billingTypes, strapi.Billing, "api::billing.billing=billings")
	s.typesOnce(slices.Concat(deals, billings))

	relations := s.relations(billings)
	s.mapFields(dealMapping, deals, defaultFields(mirror.DealFields, relations))
	s.mapFields(billingMapping, billings, defaultFields(mirror.BillingFields, []string{mirror.DealRelation}))
	return slices.Concat(deals, billings)
}

// Strapi's own rules for a uid (api::singular.singular) and a REST plural.
var (
	uidShape    = regexp.MustCompile(`^[a-z]+::[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
	pluralShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
)

// types reads `uid=plural,…`.
func (s *settings) types(name string, kind strapi.Kind, fallback string) []strapi.ContentType {
	items := splitList(s.textOr(name, fallback))
	if len(items) == 0 {
		s.wrong(name, "names no type", "Give uid=REST plural,…, such as "+fallback+"; or unset it for that default.")
	}
	var all []strapi.ContentType
	for _, item := range items {
		uid, plural, _ := strings.Cut(item, "=")
		uid, plural = strings.TrimSpace(uid), strings.TrimSpace(plural)
		if !uidShape.MatchString(uid) || !pluralShape.MatchString(plural) {
			s.wrong(name, "has the entry "+shown(item), "Give uid=REST plural,…, such as "+fallback+".")
			continue
		}
		all = append(all, strapi.ContentType{Kind: kind, UID: uid, Plural: plural})
	}
	return all
}

// typesOnce refuses a uid or a plural that two types have: each document must
// belong to exactly one type.
func (s *settings) typesOnce(all []strapi.ContentType) {
	byUID, byPlural := map[string]strapi.Kind{}, map[string]string{}
	for _, t := range all {
		if first, ok := byUID[t.UID]; ok {
			s.wrong(settingOf(t.Kind), "has "+t.UID+", which "+cmp.Or(otherSetting(first, t.Kind), "it has already"), "Name each type once.")
			continue
		}
		byUID[t.UID] = t.Kind
		if first, ok := byPlural[t.Plural]; ok {
			s.wrong(settingOf(t.Kind), "gives "+t.UID+" the plural "+t.Plural+" of "+first, "Give each type its own REST plural.")
		}
		byPlural[t.Plural] = t.UID
	}
}

func otherSetting(first, second strapi.Kind) string {
	if first == second {
		return ""
	}
	return settingOf(first) + " has too"
}

func settingOf(k strapi.Kind) string {
	if k == strapi.Deal {
		return dealTypes
	}
	return billingTypes
}

// relations returns the names of a deal's relations to billings.
func (s *settings) relations(billings []strapi.ContentType) []string {
	var names []string
	for _, t := range billings {
		if slices.Contains(mirror.DealFields, t.Plural) {
			s.wrong(billingTypes, "has the plural "+t.Plural+", which is also the name of a deal's field", "Rename the type in Strapi.")
			continue
		}
		names = append(names, t.Plural)
	}
	return names
}

// defaultFields maps each field to the attribute of the same name, and each
// relation to its plural in Strapi's notation for attributes.
func defaultFields(fields, relations []string) map[string]string {
	m := make(map[string]string, len(fields)+len(relations))
	for _, f := range fields {
		m[f] = f
	}
	for _, r := range relations {
		m[r] = strings.ReplaceAll(r, "-", "_")
	}
	return m
}

// attributeShape is what Strapi takes for the name of an attribute, and - as some plugins use it. Dots
// lead through components and relations.
var attributeShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*$`)

// mapFields gives each type its complete map: the defaults, then the setting's entries
// for all types, then its entries for this type.
func (s *settings) mapFields(name string, types []strapi.ContentType, defaults map[string]string) {
	general := maps.Clone(defaults)
	special := map[string]map[string]string{}
	seen := map[string]bool{}
	for _, item := range s.list(name) {
		key, theirs, found := strings.Cut(item, "=")
		key, theirs = strings.TrimSpace(key), strings.TrimSpace(theirs)
		uid, ours := splitField(key)
		if !s.fieldFits(name, item, found, uid, ours, theirs, types, defaults) {
			continue
		}
		if seen[key] {
			s.wrong(name, "maps "+key+" twice", "Name each field once.")
		}
		seen[key] = true
		if uid == "" {
			general[ours] = theirs
			continue
		}
		if special[uid] == nil {
			special[uid] = map[string]string{}
		}
		special[uid][ours] = theirs
	}
	for i := range types {
		types[i].Fields = maps.Clone(general)
		maps.Copy(types[i].Fields, special[types[i].UID])
		for ours := range types[i].Fields {
			if seen[ours] || seen[types[i].UID+"."+ours] {
				types[i].Explicit = append(types[i].Explicit, ours)
			}
		}
		slices.Sort(types[i].Explicit)
	}
}

// splitField returns the type's uid, if any, and our field: a uid has dots, a
// field of ours has none.
func splitField(key string) (uid, ours string) {
	dot := strings.LastIndex(key, ".")
	if dot < 0 {
		return "", key
	}
	return key[:dot], key[dot+1:]
}

func (s *settings) fieldFits(name, item string, found bool, uid, ours, theirs string, types []strapi.ContentType, defaults map[string]string) bool {
	isUID := func(t strapi.ContentType) bool { return t.UID == uid }
	switch {
	case !found:
		s.wrong(name, "has the entry "+shown(item)+" without '='", "Give the field of Dealbox=the attribute in Strapi, or field= when the type has no such attribute.")
	case uid != "" && !slices.ContainsFunc(types, isUID):
		s.wrong(name, "names the type "+shown(uid)+", which is not configured", "Use one of: "+join(types)+".")
	case defaults[ours] == "":
		s.wrong(name, "maps "+shown(ours)+", which is no field of Dealbox", "Use one of: "+strings.Join(slices.Sorted(maps.Keys(defaults)), ", ")+".")
	case theirs != "" && !attributeShape.MatchString(theirs):
		s.wrong(name, "maps "+ours+" to "+shown(theirs), "Give the attribute's name as in Strapi's content type: letters, digits, _ and -; or a path through components and relations, such as money.amount.")
	default:
		return true
	}
	return false
}

func join(types []strapi.ContentType) string {
	uids := make([]string, 0, len(types))
	for _, t := range types {
		uids = append(uids, t.UID)
	}
	return strings.Join(uids, ", ")
}
