// Signs one link per form-encoded line of standard input; prints one URL per line.
package main

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"rowlink"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields, err := url.ParseQuery(lines.Text())
		if err != nil {
			panic(err)
		}
		number := func(name string) int64 {
			value, _ := strconv.ParseInt(fields.Get(name), 10, 64)
			return value
		}
		link := rowlink.Link{
			Export: fields.Get("export"), Format: fields.Get("format"), User: fields.Get("user"),
			ExpiresIn: time.Duration(number("expires_in")) * time.Second,
			Filters:   map[string][]string{}, Claims: map[string]string{}, Options: map[string]string{},
			Filename: fields.Get("filename"), IP: fields.Get("ip"),
			MaxRows: number("max_rows"), MaxBytes: number("max_bytes"), ResumeSeconds: number("resume_seconds"),
			SingleUse: fields.Get("single_use") == "true", Confirm: fields.Get("confirm") == "true", Bind: fields.Get("bind"),
			Reason: fields.Get("reason"),
			Issued: time.Unix(number("issued"), 0), ID: fields.Get("link_id"),
		}
		if fields.Has("reveal") {
			link.Reveal = strings.Split(fields.Get("reveal"), ",")
		}
		if fields.Has("not_before") {
			link.NotBefore = time.Unix(number("not_before"), 0)
		}
		for name, values := range fields {
			group, member, _ := strings.Cut(name, ".")
			switch group {
			case "filter":
				link.Filters[member] = values
			case "claim":
				link.Claims[member] = values[0]
			case "option":
				link.Options[member] = values[0]
			}
		}
		minted, err := rowlink.Mint(fields.Get("public_url"), fields.Get("key"), link)
		if err != nil {
			minted = "refused " + err.Error()
		}
		fmt.Println(minted)
	}
}
