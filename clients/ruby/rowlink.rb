# frozen_string_literal: true

require "openssl"
require "securerandom"

# Signs download links offline. Implements docs/signed-link.md.
class Rowlink
  KEY_BYTES_MIN = 32
  URL_BYTES_MAX = 4096

  # +key+ is the line that `rowlink keygen` prints.
  def initialize(public_url, key)
    @public_url = public_url.chomp("/")
    parts = %r{\A([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/]+)=*(?::([^\s,:]+))?\z}.match(key.strip)
    check("key", parts)
    @key_id, secret, @scope = parts.captures
    check("key", secret.length % 4 != 1)
    @secret = (secret + "=" * (-secret.length % 4)).unpack1("m0")
    check("key", @secret.bytesize >= KEY_BYTES_MIN)
  end

  # Omits the key.
  def inspect = "#<Rowlink #{@public_url}>"

  # Returns the signed URL of a file for +user+, valid for +expires_in+ seconds from +issued+ (default: now). Times are
  # Unix seconds. +format+ is nil for a stored document. +options+ are named as in the link, without `rl_`:
  # <tt>{ "csv.delimiter" => ";" }</tt>. A list filter takes an array. +reveal+ names the columns with a scope that the
  # user may see; all others with a scope are withheld. Never take it from a request. +single_use+ lets the link work
  # only once. +confirm+ shows a browser a page with a button first. +bind+ is the SHA-256 of a cookie's value in hex: the
  # link then works only in the browser that has this cookie. +reason+ says why the user wants the file, in at most 200
  # characters.
  # Raises an ArgumentError that names the field if a value is invalid.
  def mint(export, format, user:, expires_in: 60, filters: {}, claims: {}, options: {}, reveal: [], filename: nil,
           not_before: nil, ip: nil, max_rows: nil, max_bytes: nil, resume_seconds: nil,
           single_use: nil, confirm: nil, bind: nil, reason: nil, issued: nil, link_id: nil)
    issued ||= Time.now.to_i
    check("export", /\A[A-Za-z0-9_-]{1,64}\z/.match?(export))
    check("format", format.nil? || /\A[a-z0-9]+\z/.match?(format))
    check("user", text?(user))
    check("expires_in", integer?(expires_in, 1))
    check("issued", integer?(issued, 0))
    check("not_before", not_before.nil? || integer?(not_before, 0))
    check("max_rows", max_rows.nil? || integer?(max_rows, 1))
    check("max_bytes", max_bytes.nil? || integer?(max_bytes, 1))
    check("resume_seconds", resume_seconds.nil? || integer?(resume_seconds, 1))
    check("single_use", [true, false, nil].include?(single_use))
    check("confirm", [true, false, nil].include?(confirm))
    check("bind", bind.nil? || /\A[0-9a-f]{64}\z/.match?(bind))
    check("reason", reason.nil? || /\A[^\p{Cntrl}]{1,200}\z/.match?(reason.encode("UTF-8")))
    check("reveal", reveal.all? { |name| text?(name) && !name.include?(",") } && reveal.uniq.size == reveal.size)
    reserved = {
      "user" => user, "link" => link_id || uuid7, "issued" => issued, "expires" => issued + expires_in,
      "key" => @key_id, "scope" => @scope, "not_before" => not_before, "ip" => ip, "max_rows" => max_rows,
      "max_bytes" => max_bytes, "resume" => resume_seconds, "single_use" => single_use || nil,
      "confirm" => confirm || nil, "bind" => bind, "reason" => reason, "filename" => filename,
      "reveal" => reveal.empty? ? nil : reveal.join(",")
    }
    pairs = reserved.compact.map { |name, value| ["rl_#{name}", value] }
    claims.each do |name, value|
      check("claims.#{name}", /\A[A-Za-z0-9_]{1,64}\z/.match?(name) && text?(value))
      pairs << ["rl_claim.#{name}", value]
    end
    options.each do |name, value|
      known = /\A(columns|timezone|language|end_line|length|delivery|(csv|tsv|xlsx|ndjson|json|parquet|zip)\.[a-z_]+)\z/
      check("options.#{name}", known.match?(name))
      pairs << ["rl_#{name}", value]
    end
    filters.each do |name, values|
      check("filters.#{name}", !name.empty? && !name.start_with?("rl_"))
      (values.is_a?(Array) ? values : [values]).compact.each { |value| pairs << [name, value] }
    end

    # Sorts by name, then by value. Encoded text is ASCII, so this is bytewise.
    query = pairs.map { |pair| pair.map { |text| encode(text.to_s) } }.sort.map { |pair| pair.join("=") }.join("&")
    path = format.nil? ? "/v1/files/#{export}" : "/v1/exports/#{export}.#{format}"
    signature = OpenSSL::HMAC.hexdigest("SHA256", @secret, "ROWLINK1-HMAC-SHA256\n#{path}\n#{query}")
    url = "#{@public_url}#{path}?#{query}&rl_signature=#{signature}"
    check("url", url.bytesize <= URL_BYTES_MAX)
    url
  end

  private

  # Raises if the value is invalid. The message omits the value, which may be a secret.
  def check(field, valid)
    raise ArgumentError, "#{field}: invalid value; see docs/signed-link.md" unless valid
  end

  def text?(text)
    (1..256).cover?(text.bytesize) && !text.encode("UTF-8").match?(/\p{Cntrl}/)
  end

  def integer?(number, min)
    number.is_a?(Integer) && number >= min
  end

  # Percent-encodes by RFC 3986.
  def encode(text)
    text.encode("UTF-8").b.gsub(/[^A-Za-z0-9\-._~]/n) { |byte| format("%%%02X", byte.ord) }
  end

  # Returns a new UUIDv7 (RFC 9562, section 5.7).
  def uuid7
    bytes = [Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)].pack("Q>")[2..] + SecureRandom.bytes(10)
    bytes.setbyte(6, bytes.getbyte(6) & 0x0f | 0x70)
    bytes.setbyte(8, bytes.getbyte(8) & 0x3f | 0x80)
    bytes.unpack("H8H4H4H4H12").join("-")
  end
end
