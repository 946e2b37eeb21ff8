// Package rowlink makes signed download links without asking the service: docs/signed-link.md in Go.
package rowlink

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	keyBytesMin = 32
	urlBytesMax = 4096
)

// Link is what a link says. What is zero is left out.
type Link struct {
	Export string
	Format string
	User   string
	// ExpiresIn is in whole seconds from Issued; a minute if it is zero.
	ExpiresIn time.Duration
	// Filters by name; a list has more than one value.
	Filters map[string][]string
	Claims  map[string]string
	// Options are named as in the link, without rl_: "columns", "csv.delimiter".
	Options   map[string]string
	Filename  string
	NotBefore time.Time
	// IP is the address or the network that the link works from.
	IP       string
	MaxRows  int64
	MaxBytes int64
	// Issued is now if it is zero.
	Issued time.Time
	// ID is a UUID; a new one if it is empty.
	ID string
}

// Mint gives the URL of a file. key is the line that `rowlink keygen` prints.
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
	if length := len(link.User); length < 1 || length > 256 {
		return "", errors.New("user: expected 1 to 256 bytes")
	}
	if link.ExpiresIn < time.Second {
		return "", errors.New("expires in: expected at least 1 second")
	}

	issued := link.Issued.Unix()
	var pairs []pair
	reserve := func(name, value string) { pairs = append(pairs, encoded("rl_"+name, value)) }
	reserveInt := func(name string, value int64) { reserve(name, strconv.FormatInt(value, 10)) }
	reserve("user", link.User)
	reserve("link", link.ID)
	reserveInt("issued", issued)
	reserveInt("expires", issued+int64(link.ExpiresIn/time.Second))
	reserve("key", id)
	if scope != "" {
		reserve("scope", scope)
	}
	if !link.NotBefore.IsZero() {
		reserveInt("not_before", link.NotBefore.Unix())
	}
	if link.IP != "" {
		reserve("ip", link.IP)
	}
	if link.MaxRows != 0 {
		reserveInt("max_rows", link.MaxRows)
	}
	if link.MaxBytes != 0 {
		reserveInt("max_bytes", link.MaxBytes)
	}
	if link.Filename != "" {
		reserve("filename", link.Filename)
	}
	for name, value := range link.Claims {
		reserve("claim."+name, value)
	}
	for name, value := range link.Options {
		reserve(name, value)
	}
	for name, values := range link.Filters {
		if strings.HasPrefix(name, "rl_") {
			return "", fmt.Errorf("filters.%s: names that start with rl_ are reserved", name)
		}
		for _, value := range values {
			pairs = append(pairs, encoded(name, value))
		}
	}

	query := canonicalQuery(pairs)
	path := "/v1/exports/" + link.Export + "." + link.Format
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("ROWLINK1-HMAC-SHA256\n" + path + "\n" + query))
	signature := hex.EncodeToString(mac.Sum(nil))
	url := strings.TrimSuffix(publicURL, "/") + path + "?" + query + "&rl_signature=" + signature
	if len(url) > urlBytesMax {
		return "", fmt.Errorf("url: %d bytes long, expected at most %d", len(url), urlBytesMax)
	}
	return url, nil
}

type pair struct{ name, value string }

func encoded(name, value string) pair {
	return pair{encode(name), encode(value)}
}

// Sorted by name, then by value, bytewise.
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

// RFC 3986: url.QueryEscape would make + of a space.
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

// The id and the bytes of a key, and for a child key its scope.
func parseKey(line string) (id string, secret []byte, scope string, err error) {
	parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
	if len(parts) > 1 {
		secret, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	}
	if err != nil || len(secret) < keyBytesMin {
		// Says nothing of what is in it.
		return "", nil, "", fmt.Errorf("key: expected `id:base64` of at least %d bytes", keyBytesMin)
	}
	if len(parts) == 3 {
		scope = parts[2]
	}
	return parts[0], secret, scope, nil
}

// RFC 9562, section 5.7.
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
