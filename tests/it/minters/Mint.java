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
            Map<String, String> said = new HashMap<>();
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
                    said.put(name, value);
                }
            }
            Rowlink.Link link = new Rowlink.Link(
                    said.get("export"),
                    said.get("format"),
                    said.get("user"),
                    Duration.ofSeconds(Long.parseLong(said.get("expires_in"))),
                    filters,
                    claims,
                    options,
                    said.get("filename"),
                    said.containsKey("not_before") ? Instant.ofEpochSecond(Long.parseLong(said.get("not_before"))) : null,
                    said.get("ip"),
                    said.containsKey("max_rows") ? Long.valueOf(said.get("max_rows")) : null,
                    said.containsKey("max_bytes") ? Long.valueOf(said.get("max_bytes")) : null,
                    Instant.ofEpochSecond(Long.parseLong(said.get("issued"))),
                    UUID.fromString(said.get("link_id")));
            try {
                System.out.println(new Rowlink(said.get("public_url"), said.get("key")).mint(link));
            } catch (IllegalArgumentException refusal) {
                System.out.println("refused " + refusal.getMessage());
            }
        }
    }
}
