package fakestrapi

import (
	"fmt"
	"strings"
)

// AttributeKind is the type of an attribute in a Strapi schema.
type AttributeKind string

// The kinds of attributes that the fake knows.
const (
	String     AttributeKind = "string"
	Decimal    AttributeKind = "decimal"
	Float      AttributeKind = "float"
	Integer    AttributeKind = "integer"
	BigInteger AttributeKind = "biginteger"
	Boolean    AttributeKind = "boolean"
	Date       AttributeKind = "date"
	DateTime   AttributeKind = "datetime"
	JSON       AttributeKind = "json"
	// Component is shown only when it is populated.
	Component AttributeKind = "component"
)

// Attribute is a scalar attribute of a content type.
type Attribute struct {
	Name string
	Kind AttributeKind
	// Precision and Scale of a decimal. Zero is what Strapi makes on Postgres:
	// numeric(10,2), so 1000.125 is stored as 1000.13 and 123456789.01 is
	// answered with HTTP 500.
	Precision, Scale int
	// Private attributes can be written but are in no answer and no webhook.
	Private bool
	// Of are the attributes of a Component. One that is repeatable is an array of them.
	Of []Attribute
}

func (a Attribute) digits() (precision, scale int) {
	if a.Precision == 0 {
		return 10, 2
	}
	return a.Precision, a.Scale
}

// RelationKind is the cardinality of a relation, seen from its type.
type RelationKind string

// The kinds of relations that the fake knows. The manyToOne side holds the link.
const (
	OneToMany RelationKind = "oneToMany"
	ManyToOne RelationKind = "manyToOne"
)

// Relation is one side of a relation between two content types.
type Relation struct {
	Name   string
	Kind   RelationKind
	Target string // UID of the other type
	// Inverse is the relation's name on the other side. Only a manyToOne
	// relation may have none.
	Inverse string
}

// Type is a Strapi collection type.
type Type struct {
	UID    string // such as api::pipeline-deal.pipeline-deal
	Plural string // name in REST routes, such as pipeline-deals
	Model  string // name in webhooks; empty: the last part of UID
	// Drafts is draftAndPublish.
	Drafts bool
	// Localized gives the type locales (see In). Shared are the attributes that have
	// one value in all locales of a document; the others have one in each.
	Localized bool
	Shared    []string
	// Attributes and Relations in the order in which Strapi writes them.
	Attributes []Attribute
	Relations  []Relation
}

// HasAttribute reports whether the type has a scalar attribute of that name.
func (t Type) HasAttribute(name string) bool {
	_, ok := t.attribute(name)
	return ok
}

func (t Type) attribute(name string) (Attribute, bool) {
	for _, a := range t.Attributes {
		if a.Name == name {
			return a, true
		}
	}
	return Attribute{}, false
}

// modelOf returns Strapi's modelName: the UID's last part.
func modelOf(uid string) string { return uid[strings.LastIndexByte(uid, '.')+1:] }

// UIDs of the ready-made types.
const (
	DealUID    = "api::pipeline-deal.pipeline-deal"
	BillingUID = "api::billing.billing"
)

// PipelineTypes returns pipeline deals and billings with every attribute that
// Dealbox mirrors. With renamed their status is called deal_status and
// billing_status. Strapi reserves the name status where drafts are on, so
// drafts without renamed is refused by New, as Strapi refuses to start.
func PipelineTypes(drafts, renamed bool) []Type {
	dealStatus, billingStatus := "status", "status"
	if renamed {
		dealStatus, billingStatus = "deal_status", "billing_status"
	}
	deal := []Attribute{
		{Name: "deal_id", Kind: String},
		{Name: "name", Kind: String},
		{Name: "deal_value", Kind: Decimal},
		{Name: "currency", Kind: String},
		{Name: dealStatus, Kind: String},
		{Name: "stage", Kind: String},
		{Name: "probability", Kind: Decimal},
		{Name: "confidence_override", Kind: Decimal},
		{Name: "expected_close_date", Kind: Date},
		{Name: "recognition_start_month", Kind: Date},
		{Name: "recognition_end_month", Kind: Date},
		{Name: "owner", Kind: String},
	}
	billing := []Attribute{
		{Name: "billing_id", Kind: String},
		{Name: "amount", Kind: Decimal},
		{Name: "currency", Kind: String},
		{Name: billingStatus, Kind: String},
		{Name: "invoice_date", Kind: Date},
		{Name: "collected_date", Kind: Date},
		{Name: "recognition_month", Kind: Date},
	}
	return pipelineTypes(drafts, deal, billing)
}

// CapturedTypes returns the types of the Strapi 5.54.0 whose deliveries were
// captured: fewer attributes than PipelineTypes, in that Strapi's order.
func CapturedTypes(drafts bool) []Type {
	deal := []Attribute{
		{Name: "name", Kind: String},
		{Name: "deal_value", Kind: Decimal},
		{Name: "probability", Kind: Integer},
		{Name: "stage", Kind: String},
		{Name: "recognition_start_month", Kind: Date},
		{Name: "recognition_end_month", Kind: Date},
		{Name: "deal_status", Kind: String},
		{Name: "currency", Kind: String},
		{Name: "secret_note", Kind: String, Private: true},
	}
	billing := []Attribute{
		{Name: "amount", Kind: Decimal},
		{Name: "invoice_date", Kind: Date},
		{Name: "collected_date", Kind: Date},
		{Name: "billing_status", Kind: String},
	}
	return pipelineTypes(drafts, deal, billing)
}

func pipelineTypes(drafts bool, deal, billing []Attribute) []Type {
	return []Type{
		{
			UID: DealUID, Plural: "pipeline-deals", Model: "pipeline-deal", Drafts: drafts, Attributes: deal,
			Relations: []Relation{{Name: "billings", Kind: OneToMany, Target: BillingUID, Inverse: "deal"}},
		},
		{
			UID: BillingUID, Plural: "billings", Model: "billing", Drafts: drafts, Attributes: billing,
			Relations: []Relation{{Name: "deal", Kind: ManyToOne, Target: DealUID, Inverse: "billings"}},
		},
	}
}

// checkTypes returns everything that is wrong with a schema, one sentence a mistake.
func checkTypes(types []Type) []string {
	var wrong []string
	uids, plurals := map[string]Type{}, map[string]bool{}
	for _, t := range types {
		wrong = append(wrong, t.check()...)
		if _, twice := uids[t.UID]; twice {
			wrong = append(wrong, fmt.Sprintf("type %s is there twice", t.UID))
		}
		if plurals[t.Plural] {
			wrong = append(wrong, fmt.Sprintf("type %s: another type has the plural %q", t.UID, t.Plural))
		}
		uids[t.UID], plurals[t.Plural] = t, true
	}
	for _, t := range types {
		for _, r := range t.Relations {
			if problem := r.check(t.UID, uids); problem != "" {
				wrong = append(wrong, fmt.Sprintf("type %s: relation %s: %s", t.UID, r.Name, problem))
			}
		}
	}
	return wrong
}

func (t Type) check() []string {
	var wrong []string
	if t.UID == "" || t.Plural == "" || strings.Contains(t.Plural, "/") {
		wrong = append(wrong, fmt.Sprintf("type %q: needs a UID and a plural without slash", t.UID))
	}
	names := map[string]bool{}
	for _, name := range t.names() {
		if reserved(name, t.Drafts) {
			wrong = append(wrong, fmt.Sprintf("type %s: Strapi reserves the name %q", t.UID, name))
		}
		if names[name] {
			wrong = append(wrong, fmt.Sprintf("type %s: %q is there twice", t.UID, name))
		}
		names[name] = true
	}
	return wrong
}

func (t Type) names() []string {
	var names []string
	for _, a := range t.Attributes {
		names = append(names, a.Name)
	}
	for _, r := range t.Relations {
		names = append(names, r.Name)
	}
	return names
}

// reserved names cannot be attributes. The name status is free only where
// draftAndPublish is off.
func reserved(name string, drafts bool) bool {
	switch name {
	case "", "id", "documentId", "createdAt", "updatedAt", "publishedAt", "locale":
		return true
	case "status":
		return drafts
	default:
		return false
	}
}

func (r Relation) check(uid string, types map[string]Type) string {
	target, known := types[r.Target]
	if !known {
		return fmt.Sprintf("its target %q is not a type", r.Target)
	}
	if r.Kind == ManyToOne && r.Inverse == "" {
		return ""
	}
	other, found := target.relation(r.Inverse)
	if !found || other.Target != uid || other.Inverse != r.Name || other.Kind == r.Kind {
		return fmt.Sprintf("%s has no relation %q that is its other side", r.Target, r.Inverse)
	}
	return ""
}

func (t Type) relation(name string) (Relation, bool) {
	for _, r := range t.Relations {
		if r.Name == name {
			return r, true
		}
	}
	return Relation{}, false
}
