import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** Signs one link per form-encoded line of standard input; prints one URL per line. */
public final class Mint {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, String> fields = new HashMap<>();
            Map<String, String> claims = new HashMap<>();
            Map<String, String> options = new HashMap<>();
            Map<String, List<String>> filters = new HashMap<>();
            for (String pair : line.split("&")) {
                String[] sides = pair.split("=", 2);
                String name = URLDecoder.decode(sides[0], StandardCharsets.UTF_8);
                String value = URLDecoder.decode(sides[1], StandardCharsets.UTF_8);
                if (name.startsWith("filter.")) {
                    filters.computeIfAbsent(name.substring(7), it -> new ArrayList<>()).add(value);
                } else if (name.startsWith("claim.")) {
                    claims.put(name.substring(6), value);
                } else if (name.startsWith("option.")) {
                    options.put(name.substring(7), value);
                } else {
                    fields.put(name, value);
                }
            }
            Rowlink.Link link = new Rowlink.Link(
                    fields.get("export"),
                    fields.get("format"),
                    fields.get("user"),
                    Duration.ofSeconds(Long.parseLong(fields.get("expires_in"))),
                    filters,
                    claims,
                    options,
                    fields.containsKey("reveal") ? List.of(fields.get("reveal").split(",", -1)) : null,
                    fields.get("filename"),
                    fields.containsKey("not_before") ? Instant.ofEpochSecond(Long.parseLong(fields.get("not_before"))) : null,
                    fields.get("ip"),
                    fields.containsKey("max_rows") ? Long.valueOf(fields.get("max_rows")) : null,
                    fields.containsKey("max_bytes") ? Long.valueOf(fields.get("max_bytes")) : null,
                    fields.containsKey("resume_seconds") ? Long.valueOf(fields.get("resume_seconds")) : null,
                    "true".equals(fields.get("single_use")),
                    "true".equals(fields.get("confirm")),
                    fields.get("bind"),
                    fields.get("reason"),
                    Instant.ofEpochSecond(Long.parseLong(fields.get("issued"))),
                    UUID.fromString(fields.get("link_id")));
            try {
                System.out.println(new Rowlink(fields.get("public_url"), fields.get("key")).mint(link));
            } catch (IllegalArgumentException refusal) {
                System.out.println("refused " + refusal.getMessage());
            }
        }
    }
}
