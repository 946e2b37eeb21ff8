// Package rowlink signs download links offline. It implements docs/signed-link.md.
package rowlink

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	keyBytesMin = 32
	urlBytesMax = 4096
)

// Link holds the contents of a link to sign. Zero values are omitted.
type Link struct {
	Export string
	// Format is empty for a stored document.
	Format string
	User   string
	// ExpiresIn is the lifetime from Issued, in whole seconds. Default: one minute.
	ExpiresIn time.Duration
	// Filters maps names to values. A list filter may have several values.
	Filters map[string][]string
	Claims  map[string]string
	// Options are named as in the link without rl_: "columns", "csv.delimiter".
	Options map[string]string
	// Reveal names the columns with a scope that the user may see; all others with a scope are withheld. Never take it
	// from a request.
	Reveal    []string
	Filename  string
	NotBefore time.Time
	// IP is the client address or network (CIDR) that may use the link.
	IP       string
	MaxRows  int64
	MaxBytes int64
	// ResumeSeconds is for how long after its expiry a download that has begun may be continued.
	ResumeSeconds int64
	// SingleUse lets the link work only once.
	SingleUse bool
	// Confirm shows a browser a page with a button first.
	Confirm bool
	// Bind is the SHA-256 of a cookie's value in hex. The link works only in the browser that has this cookie.
	Bind string
	// Reason says why the user wants the file, in at most 200 characters.
	Reason string
	// Issued is the time of issue. Default: now.
	Issued time.Time
	// ID is a UUID. Default: a new UUIDv7.
	ID string
}

// Mint returns the signed URL of a file. key is the line that `rowlink keygen` prints. If a value is invalid, the
// error names its field.
func Mint(publicURL, key string, link Link) (string, error) {
	id, secret, scope, err := parseKey(key)
	if err != nil {
		return "", err
	}
	if link.Issued.IsZero() {
		link.Issued = time.Now()
	}
	if link.ExpiresIn == 0 {
		link.ExpiresIn = time.Minute
	}
	if link.ID == "" {
		if link.ID, err = uuid7(link.Issued); err != nil {
			return "", err
		}
	}
	checks := []struct {
		field string
		valid bool
	}{
		{"export", exportName.MatchString(link.Export)},
		{"format", link.Format == "" || formatName.MatchString(link.Format)},
		{"user", isText(link.User)},
		{"expires in", link.ExpiresIn >= time.Second},
		{"not before", link.NotBefore.IsZero() || link.NotBefore.Unix() >= 0},
		{"max rows", link.MaxRows >= 0},
		{"max bytes", link.MaxBytes >= 0},
		{"resume seconds", link.ResumeSeconds >= 0},
		{"reveal", isReveal(link.Reveal)},
		{"bind", link.Bind == "" || hash.MatchString(link.Bind)},
		{"reason", link.Reason == "" || isReason(link.Reason)},
	}
	for _, check := range checks {
		if !check.valid {
			return "", invalid(check.field)
		}
	}

	issued := link.Issued.Unix()
	var pairs []pair
	addReserved := func(name, value string) { pairs = append(pairs, encoded("rl_"+name, value)) }
	addReservedInt := func(name string, value int64) { addReserved(name, strconv.FormatInt(value, 10)) }
	addReserved("user", link.User)
	addReserved("link", link.ID)
	addReservedInt("issued", issued)
	addReservedInt("expires", issued+int64(link.ExpiresIn/time.Second))
	addReserved("key", id)
	if scope != "" {
		addReserved("scope", scope)
	}
	if !link.NotBefore.IsZero() {
		addReservedInt("not_before", link.NotBefore.Unix())
	}
	if link.IP != "" {
		addReserved("ip", link.IP)
	}
	if link.MaxRows != 0 {
		addReservedInt("max_rows", link.MaxRows)
	}
	if link.MaxBytes != 0 {
		addReservedInt("max_bytes", link.MaxBytes)
	}
	if link.ResumeSeconds != 0 {
		addReservedInt("resume", link.ResumeSeconds)
	}
	if link.SingleUse {
		addReserved("single_use", "true")
	}
	if link.Confirm {
		addReserved("confirm", "true")
	}
	if link.Bind != "" {
		addReserved("bind", link.Bind)
	}
	if link.Reason != "" {
		addReserved("reason", link.Reason)
	}
	if link.Filename != "" {
		addReserved("filename", link.Filename)
	}
	if len(link.Reveal) != 0 {
		addReserved("reveal", strings.Join(link.Reveal, ","))
	}
	for name, value := range link.Claims {
		if !claimName.MatchString(name) || !isText(value) {
			return "", invalid("claims." + name)
		}
		addReserved("claim."+name, value)
	}
	for name, value := range link.Options {
		if !optionName.MatchString(name) {
			return "", invalid("options." + name)
		}
		addReserved(name, value)
	}
	for name, values := range link.Filters {
		if name == "" || strings.HasPrefix(name, "rl_") {
			return "", invalid("filters." + name)
		}
		for _, value := range values {
			pairs = append(pairs, encoded(name, value))
		}
	}

	query := canonicalQuery(pairs)
	path := "/v1/files/" + link.Export
	if link.Format != "" {
		path = "/v1/exports/" + link.Export + "." + link.Format
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("ROWLINK1-HMAC-SHA256\n" + path + "\n" + query))
	signature := hex.EncodeToString(mac.Sum(nil))
	url := strings.TrimSuffix(publicURL, "/") + path + "?" + query + "&rl_signature=" + signature
	if len(url) > urlBytesMax {
		return "", invalid("url")
	}
	return url, nil
}

var (
	keyLine    = regexp.MustCompile(`^([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/]+)=*(?::([^\s,:]+))?$`)
	exportName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	formatName = regexp.MustCompile(`^[a-z0-9]+$`)
	claimName  = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)
	hash       = regexp.MustCompile(`^[0-9a-f]{64}$`)
	optionName = regexp.MustCompile(`^(columns|timezone|language|end_line|length|delivery|(csv|tsv|xlsx|ndjson|json|parquet|zip)\.[a-z_]+)$`)
)

// invalid returns an error without the value, which may be a secret.
func invalid(field string) error {
	return errors.New(field + ": invalid value; see docs/signed-link.md")
}

func isText(text string) bool {
	return len(text) >= 1 && len(text) <= 256 && utf8.ValidString(text) && strings.IndexFunc(text, unicode.IsControl) < 0
}

func isReason(text string) bool {
	return utf8.RuneCountInString(text) <= 200 && utf8.ValidString(text) && strings.IndexFunc(text, unicode.IsControl) < 0
}

func isReveal(names []string) bool {
	known := map[string]bool{}
	for _, name := range names {
		if known[name] || !isText(name) || strings.Contains(name, ",") {
			return false
		}
		known[name] = true
	}
	return true
}

type pair struct{ name, value string }

func encoded(name, value string) pair {
	return pair{encode(name), encode(value)}
}

// canonicalQuery sorts by name, then by value, bytewise.
func canonicalQuery(pairs []pair) string {
	sort.Slice(pairs, func(i, j int) bool {
		if pairs[i].name != pairs[j].name {
			return pairs[i].name < pairs[j].name
		}
		return pairs[i].value < pairs[j].value
	})
	parts := make([]string, len(pairs))
	for i, pair := range pairs {
		parts[i] = pair.name + "=" + pair.value
	}
	return strings.Join(parts, "&")
}

// encode percent-encodes by RFC 3986. url.QueryEscape would encode a space as +.
func encode(text string) string {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if strings.IndexByte(unreserved, text[i]) >= 0 {
			out.WriteByte(text[i])
		} else {
			fmt.Fprintf(&out, "%%%02X", text[i])
		}
	}
	return out.String()
}

// parseKey returns the id and the bytes of a key, and the scope of a child key.
func parseKey(line string) (id string, secret []byte, scope string, err error) {
	parts := keyLine.FindStringSubmatch(strings.TrimSpace(line))
	if parts == nil {
		return "", nil, "", invalid("key")
	}
	secret, err = base64.RawStdEncoding.DecodeString(parts[2])
	if err != nil || len(secret) < keyBytesMin {
		return "", nil, "", invalid("key")
	}
	return parts[1], secret, parts[3], nil
}

// uuid7 returns a new UUIDv7 (RFC 9562, section 5.7).
func uuid7(now time.Time) (string, error) {
	var id [16]byte
	if _, err := rand.Read(id[6:]); err != nil {
		return "", err
	}
	milliseconds := now.UnixMilli()
	for i := 5; i >= 0; i-- {
		id[i] = byte(milliseconds)
		milliseconds >>= 8
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]), nil
}
