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
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Makes signed download links without asking the service: docs/signed-link.md in Java 17. */
public final class Rowlink {
    private static final int KEY_BYTES_MIN = 32;
    private static final int URL_BYTES_MAX = 4096;

    private final String publicUrl;
    private final String keyId;
    private final SecretKeySpec secret;
    private final String scope;

    /** {@code key} is the line that {@code rowlink keygen} prints. */
    public Rowlink(String publicUrl, String key) {
        this.publicUrl = publicUrl.replaceFirst("/$", "");
        String[] parts = key.strip().split(":", 3);
        byte[] decoded = parts.length > 1 ? decode(parts[1]) : new byte[0];
        if (decoded.length < KEY_BYTES_MIN) {
            // Says nothing of what is in it.
            throw new IllegalArgumentException("key: expected `id:base64` of at least 32 bytes");
        }
        keyId = parts[0];
        secret = new SecretKeySpec(decoded, "HmacSHA256");
        scope = parts.length > 2 ? parts[2] : null;
    }

    /**
     * What a link says. What is null is left out.
     *
     * @param expiresIn in whole seconds from {@code issued}; a minute if it is null
     * @param filters by name; a list has more than one value
     * @param options named as in the link, without {@code rl_}: {@code columns}, {@code csv.delimiter}
     * @param ip the address or network that the link works from
     * @param issued now if it is null
     * @param id a new one if it is null
     */
    public record Link(
            String export,
            String format,
            String user,
            Duration expiresIn,
            Map<String, List<String>> filters,
            Map<String, String> claims,
            Map<String, String> options,
            String filename,
            Instant notBefore,
            String ip,
            Long maxRows,
            Long maxBytes,
            Instant issued,
            UUID id) {
        /** A link for a minute, without conditions. */
        public Link(String export, String format, String user, Map<String, List<String>> filters) {
            this(export, format, user, null, filters, null, null, null, null, null, null, null, null, null);
        }
    }

    /** The URL of a file. */
    public String mint(Link link) {
        Duration expiresIn = link.expiresIn == null ? Duration.ofMinutes(1) : link.expiresIn;
        int userBytes = link.user.getBytes(StandardCharsets.UTF_8).length;
        if (userBytes < 1 || userBytes > 256) {
            throw new IllegalArgumentException("user: expected 1 to 256 bytes");
        }
        if (expiresIn.toSeconds() < 1) {
            throw new IllegalArgumentException("expiresIn: expected at least 1 second");
        }
        long issued = (link.issued == null ? Instant.now() : link.issued).getEpochSecond();
        List<Pair> pairs = new ArrayList<>();
        reserve(pairs, "user", link.user);
        reserve(pairs, "link", link.id == null ? uuid7() : link.id);
        reserve(pairs, "issued", issued);
        reserve(pairs, "expires", issued + expiresIn.toSeconds());
        reserve(pairs, "key", keyId);
        reserve(pairs, "scope", scope);
        reserve(pairs, "not_before", link.notBefore == null ? null : link.notBefore.getEpochSecond());
        reserve(pairs, "ip", link.ip);
        reserve(pairs, "max_rows", link.maxRows);
        reserve(pairs, "max_bytes", link.maxBytes);
        reserve(pairs, "filename", link.filename);
        orEmpty(link.claims).forEach((name, value) -> reserve(pairs, "claim." + name, value));
        orEmpty(link.options).forEach((name, value) -> reserve(pairs, name, value));
        orEmpty(link.filters).forEach((name, values) -> {
            if (name.startsWith("rl_")) {
                throw new IllegalArgumentException("filters." + name + ": names that start with rl_ are reserved");
            }
            values.forEach(value -> pairs.add(new Pair(encode(name), encode(value))));
        });

        String query = pairs.stream().sorted().map(pair -> pair.name + "=" + pair.value).collect(Collectors.joining("&"));
        String path = "/v1/exports/" + link.export + "." + link.format;
        String signature = sign("ROWLINK1-HMAC-SHA256\n" + path + "\n" + query);
        String url = publicUrl + path + "?" + query + "&rl_signature=" + signature;
        if (url.length() > URL_BYTES_MAX) {
            throw new IllegalArgumentException("url: " + url.length() + " bytes long, expected at most 4096");
        }
        return url;
    }

    /** Sorted by name, then by value: what is left after encoding is ASCII. */
    private record Pair(String name, String value) implements Comparable<Pair> {
        @Override
        public int compareTo(Pair other) {
            int names = name.compareTo(other.name);
            return names == 0 ? value.compareTo(other.value) : names;
        }
    }

    private static void reserve(List<Pair> pairs, String name, Object value) {
        if (value != null) {
            pairs.add(new Pair(encode("rl_" + name), encode(value.toString())));
        }
    }

    private static <V> Map<String, V> orEmpty(Map<String, V> map) {
        return map == null ? Map.of() : map;
    }

    /** RFC 3986: what is not unreserved becomes %HH. {@code URLEncoder} would make + of a space. */
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
            throw new IllegalStateException("every Java platform has HmacSHA256", error);
        }
    }

    private static byte[] decode(String base64) {
        try {
            return Base64.getDecoder().decode(base64);
        } catch (IllegalArgumentException error) {
            return new byte[0];
        }
    }

    /** RFC 9562, section 5.7. */
    private static UUID uuid7() {
        byte[] random = new byte[10];
        new SecureRandom().nextBytes(random);
        ByteBuffer bits = ByteBuffer.wrap(random);
        long high = System.currentTimeMillis() << 16 | 0x7000 | bits.getShort() & 0x0fff;
        long low = bits.getLong() & 0x3fff_ffff_ffff_ffffL | 0x8000_0000_0000_0000L;
        return new UUID(high, low);
    }
}
