import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Signs download links offline. Implements docs/signed-link.md. Java 17 or newer. */
public final class Rowlink {
    private static final int KEY_BYTES_MIN = 32;
    private static final int URL_BYTES_MAX = 4096;

    private final String publicUrl;
    private final String keyId;
    private final SecretKeySpec secret;
    private final String scope;

    /**
     * Parses the key, the line that {@code rowlink keygen} prints.
     *
     * @throws IllegalArgumentException if the key is invalid
     */
    public Rowlink(String publicUrl, String key) {
        this.publicUrl = publicUrl.replaceFirst("/$", "");
        Matcher parts = KEY_LINE.matcher(key.strip());
        check("key", parts.matches() && parts.group(2).length() % 4 != 1);
        byte[] decoded = Base64.getDecoder().decode(parts.group(2));
        check("key", decoded.length >= KEY_BYTES_MIN);
        keyId = parts.group(1);
        secret = new SecretKeySpec(decoded, "HmacSHA256");
        scope = parts.group(3);
    }

    /**
     * The contents of a link to sign. Null values are omitted.
     *
     * @param format null for a stored document
     * @param expiresIn lifetime from {@code issued}, in whole seconds; one minute if null
     * @param filters values by name; a list filter may have several values
     * @param options named as in the link, without {@code rl_}: {@code columns}, {@code csv.delimiter}
     * @param reveal columns with a scope that the user may see; all others with a scope are withheld. Never take it from a
     *     request
     * @param ip client address or network (CIDR) that may use the link
     * @param resumeSeconds for how many seconds after its expiry a download that has begun may be continued
     * @param singleUse whether the link works only once
     * @param confirm whether a browser shows a page with a button first
     * @param bind SHA-256 of a cookie's value in hex: the link works only in the browser that has this cookie
     * @param reason why the user wants the file, in at most 200 characters
     * @param issued time of issue; now if null
     * @param id a new UUIDv7 if null
     */
    public record Link(
            String export,
            String format,
            String user,
            Duration expiresIn,
            Map<String, List<String>> filters,
            Map<String, String> claims,
            Map<String, String> options,
            List<String> reveal,
            String filename,
            Instant notBefore,
            String ip,
            Long maxRows,
            Long maxBytes,
            Long resumeSeconds,
            boolean singleUse,
            boolean confirm,
            String bind,
            String reason,
            Instant issued,
            UUID id) {
        /** Creates a link without conditions, valid for one minute. */
        public Link(String export, String format, String user, Map<String, List<String>> filters) {
            this(
                    export, format, user, null, filters, null, null, null, null, null, null, null, null, null, false,
                    false, null, null, null, null);
        }

        /** Creates a link to a stored document without conditions, valid for one minute. */
        public Link(String export, String user, Map<String, List<String>> filters) {
            this(export, null, user, filters);
        }
    }

    /**
     * Returns the signed URL of a file.
     *
     * @throws IllegalArgumentException if a value is invalid; the message names the field
     */
    public String mint(Link link) {
        Duration expiresIn = link.expiresIn == null ? Duration.ofMinutes(1) : link.expiresIn;
        check("export", EXPORT_NAME.matcher(link.export).matches());
        check("format", link.format == null || FORMAT_NAME.matcher(link.format).matches());
        check("user", isText(link.user));
        check("expiresIn", expiresIn.toSeconds() >= 1);
        check("maxRows", link.maxRows == null || link.maxRows >= 1);
        check("maxBytes", link.maxBytes == null || link.maxBytes >= 1);
        check("resumeSeconds", link.resumeSeconds == null || link.resumeSeconds >= 1);
        check("bind", link.bind == null || HASH.matcher(link.bind).matches());
        check("reason", link.reason == null || REASON.matcher(link.reason).matches());
        List<String> reveal = link.reveal == null ? List.of() : link.reveal;
        check("reveal", isReveal(reveal));
        long issued = (link.issued == null ? Instant.now() : link.issued).getEpochSecond();
        List<Pair> pairs = new ArrayList<>();
        addReserved(pairs, "user", link.user);
        addReserved(pairs, "link", link.id == null ? uuid7() : link.id);
        addReserved(pairs, "issued", issued);
        addReserved(pairs, "expires", issued + expiresIn.toSeconds());
        addReserved(pairs, "key", keyId);
        addReserved(pairs, "scope", scope);
        addReserved(pairs, "not_before", link.notBefore == null ? null : link.notBefore.getEpochSecond());
        addReserved(pairs, "ip", link.ip);
        addReserved(pairs, "max_rows", link.maxRows);
        addReserved(pairs, "max_bytes", link.maxBytes);
        addReserved(pairs, "resume", link.resumeSeconds);
        addReserved(pairs, "single_use", link.singleUse ? "true" : null);
        addReserved(pairs, "confirm", link.confirm ? "true" : null);
        addReserved(pairs, "bind", link.bind);
        addReserved(pairs, "reason", link.reason);
        addReserved(pairs, "filename", link.filename);
        addReserved(pairs, "reveal", reveal.isEmpty() ? null : String.join(",", reveal));
        orEmpty(link.claims).forEach((name, value) -> {
            check("claims." + name, CLAIM_NAME.matcher(name).matches() && isText(value));
            addReserved(pairs, "claim." + name, value);
        });
        orEmpty(link.options).forEach((name, value) -> {
            check("options." + name, OPTION_NAME.matcher(name).matches());
            addReserved(pairs, name, value);
        });
        orEmpty(link.filters).forEach((name, values) -> {
            check("filters." + name, !name.isEmpty() && !name.startsWith("rl_"));
            values.forEach(value -> pairs.add(new Pair(encode(name), encode(value))));
        });

        String query = pairs.stream().sorted().map(pair -> pair.name + "=" + pair.value).collect(Collectors.joining("&"));
        String path = link.format == null
                ? "/v1/files/" + link.export
                : "/v1/exports/" + link.export + "." + link.format;
        String signature = sign("ROWLINK1-HMAC-SHA256\n" + path + "\n" + query);
        String url = publicUrl + path + "?" + query + "&rl_signature=" + signature;
        check("url", url.length() <= URL_BYTES_MAX);
        return url;
    }

    private static final Pattern KEY_LINE =
            Pattern.compile("([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/]+)=*(?::([^\\s,:]+))?");
    private static final Pattern EXPORT_NAME = Pattern.compile("[A-Za-z0-9_-]{1,64}");
    private static final Pattern FORMAT_NAME = Pattern.compile("[a-z0-9]+");
    private static final Pattern HASH = Pattern.compile("[0-9a-f]{64}");
    private static final Pattern REASON = Pattern.compile("[^\\x00-\\x1f\\x7f-\\x9f]{1,200}");
    private static final Pattern CLAIM_NAME = Pattern.compile("[A-Za-z0-9_]{1,64}");
    private static final Pattern OPTION_NAME =
            Pattern.compile("columns|timezone|language|end_line|length|delivery|(csv|tsv|xlsx|ndjson|json|parquet|zip)\\.[a-z_]+");

    /** Throws if the value is invalid. The message omits the value, which may be a secret. */
    private static void check(String field, boolean valid) {
        if (!valid) {
            throw new IllegalArgumentException(field + ": invalid value; see docs/signed-link.md");
        }
    }

    private static boolean isText(String text) {
        int bytes = text.getBytes(StandardCharsets.UTF_8).length;
        return bytes >= 1 && bytes <= 256 && text.codePoints().noneMatch(Character::isISOControl);
    }

    private static boolean isReveal(List<String> names) {
        return names.stream().allMatch(name -> isText(name) && !name.contains(","))
                && names.stream().distinct().count() == names.size();
    }

    /** An encoded parameter, ordered by name, then by value. Encoded text is ASCII, so the order is bytewise. */
    private record Pair(String name, String value) implements Comparable<Pair> {
        @Override
        public int compareTo(Pair other) {
            int names = name.compareTo(other.name);
            return names == 0 ? value.compareTo(other.value) : names;
        }
    }

    private static void addReserved(List<Pair> pairs, String name, Object value) {
        if (value != null) {
            pairs.add(new Pair(encode("rl_" + name), encode(value.toString())));
        }
    }

    private static <V> Map<String, V> orEmpty(Map<String, V> map) {
        return map == null ? Map.of() : map;
    }

    /** Percent-encodes by RFC 3986. {@code URLEncoder} would encode a space as +. */
    private static String encode(String text) {
        StringBuilder out = new StringBuilder();
        for (byte each : text.getBytes(StandardCharsets.UTF_8)) {
            char character = (char) (each & 0xff);
            boolean isUnreserved = character < 0x80 && Character.isLetterOrDigit(character) || "-._~".indexOf(character) >= 0;
            out.append(isUnreserved ? String.valueOf(character) : String.format("%%%02X", each));
        }
        return out.toString();
    }

    private String sign(String text) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(secret);
            return HexFormat.of().formatHex(mac.doFinal(text.getBytes(StandardCharsets.UTF_8)));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("HmacSHA256 unavailable; every Java platform must provide it", error);
        }
    }

    /** Returns a new UUIDv7 (RFC 9562, section 5.7). */
    private static UUID uuid7() {
        byte[] random = new byte[10];
        new SecureRandom().nextBytes(random);
        ByteBuffer bits = ByteBuffer.wrap(random);
        long high = System.currentTimeMillis() << 16 | 0x7000 | bits.getShort() & 0x0fff;
        long low = bits.getLong() & 0x3fff_ffff_ffff_ffffL | 0x8000_0000_0000_0000L;
        return new UUID(high, low);
    }
}
