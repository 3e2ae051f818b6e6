package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/uuid"

	"dealbox/internal/paging"
	"dealbox/internal/text"
)

// maxGiven bounds what an error repeats of an argument, in bytes.
const maxGiven = 40

// mappers read arguments, with errors in our words.
func mappers() []kong.Option {
	return []kong.Option{
		kong.KindMapper(reflect.Int, kong.MapperFunc(wholeNumber)),
		kong.KindMapper(reflect.Int64, kong.MapperFunc(wholeNumber)),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)),
		kong.TypeMapper(reflect.TypeFor[uuid.UUID](), kong.MapperFunc(eventID)),
		kong.TypeMapper(reflect.TypeFor[*uuid.UUID](), kong.MapperFunc(eventID)),
	}
}

func wholeNumber(ctx *kong.DecodeContext, target reflect.Value) error {
	var given string
	if err := ctx.Scan.PopValueInto("number", &given); err != nil {
		return err //nolint:wrapcheck // kong names the argument
	}
	n, err := strconv.ParseInt(given, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", text.Line(given, maxGiven))
	}
	target.SetInt(n)
	return nil
}

func duration(ctx *kong.DecodeContext, target reflect.Value) error {
	var given string
	if err := ctx.Scan.PopValueInto("duration", &given); err != nil {
		return err //nolint:wrapcheck // kong names the argument
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90m", text.Line(given, maxGiven))
	}
	target.SetInt(int64(d))
	return nil
}

func eventID(ctx *kong.DecodeContext, target reflect.Value) error {
	var given string
	if err := ctx.Scan.PopValueInto("id", &given); err != nil {
		return err //nolint:wrapcheck // kong names the argument
	}
	id, err := uuid.Parse(given)
	if err != nil {
		return fmt.Errorf("%q is not the id of an event, such as 0193e5a0-7c1f-7cc0-8000-4f1d2c3b5a69", text.Line(given, maxGiven))
	}
	if target.Kind() == reflect.Pointer {
		target.Set(reflect.ValueOf(&id))
	} else {
		target.Set(reflect.ValueOf(id))
	}
	return nil
}

// refuseEmpty refuses a flag that narrows what a command does and is given without a value, as
// --type "$TYPE" is where the variable is not set: the command would do all of it. A comment may
// be empty, and so may the cursor of a first page.
func refuseEmpty(command *kong.Context) error {
	for _, flag := range command.Flags() {
		if !flag.Set || flag.PlaceHolder == "TEXT" || flag.Name == "cursor" {
			continue
		}
		switch flag.Target.Kind() {
		case reflect.String, reflect.Slice:
			if flag.Target.Len() == 0 {
				return fmt.Errorf("--%s: it is given without a value", flag.Name)
			}
		}
	}
	return nil
}

// asWritten returns the error of a field in the words of the command: the field has the
// name of a parameter of the API, and the person gave a flag or an argument. A tag
// field:"name" gives the field of one with another name.
func asWritten(command *kong.Context, wrong *paging.FieldError) error {
	selected := command.Selected()
	if selected == nil {
		return wrong
	}
	name := ""
	for _, flag := range selected.Flags {
		if fieldOf(flag.Value) == wrong.Field && (name == "" || flag.Set) {
			name = "--" + flag.Name
		}
	}
	for _, argument := range selected.Positional {
		if fieldOf(argument) == wrong.Field {
			name = argument.Summary()
		}
	}
	if name == "" {
		return wrong
	}
	return fmt.Errorf("%s: %s", name, wrong.Problem)
}

func fieldOf(v *kong.Value) string {
	if field := v.Tag.Get("field"); field != "" {
		return field
	}
	return strings.ReplaceAll(v.Name, "-", "_")
}
