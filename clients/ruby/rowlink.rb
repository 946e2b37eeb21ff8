# frozen_string_literal: true

require "openssl"
require "securerandom"

# Makes signed download links without asking the service: docs/signed-link.md in Ruby.
class Rowlink
  KEY_BYTES_MIN = 32
  URL_BYTES_MAX = 4096

  # +key+ is the line that `rowlink keygen` prints.
  def initialize(public_url, key)
    @public_url = public_url.chomp("/")
    @key_id, secret, @scope = key.strip.split(":", 3)
    @secret = decode(secret.to_s)
    # Says nothing of what is in it.
    raise ArgumentError, "key: expected `id:base64` of at least 32 bytes" if @secret.bytesize < KEY_BYTES_MIN
  end

  # Without the key.
  def inspect = "#<Rowlink #{@public_url}>"

  # The URL of a file for +user+, for +expires_in+ seconds from +issued+, which is now. Times are Unix seconds.
  # +options+ are named as in the link, without `rl_`: <tt>{ "csv.delimiter" => ";" }</tt>. A list as a filter is an
  # array.
  def mint(export, format, user:, expires_in: 60, filters: {}, claims: {}, options: {}, filename: nil,
           not_before: nil, ip: nil, max_rows: nil, max_bytes: nil, issued: nil, link_id: nil)
    raise ArgumentError, "user: expected 1 to 256 bytes" unless (1..256).cover?(user.bytesize)
    raise ArgumentError, "expires_in: expected at least 1 second" if expires_in < 1

    issued ||= Time.now.to_i
    reserved = {
      "user" => user, "link" => link_id || uuid7, "issued" => issued, "expires" => issued + expires_in,
      "key" => @key_id, "scope" => @scope, "not_before" => not_before, "ip" => ip, "max_rows" => max_rows,
      "max_bytes" => max_bytes, "filename" => filename, **claims.transform_keys { |name| "claim.#{name}" }, **options
    }
    pairs = reserved.compact.map { |name, value| ["rl_#{name}", value] }
    filters.each do |name, values|
      raise ArgumentError, "filters.#{name}: names that start with rl_ are reserved" if name.start_with?("rl_")

      Array(values).each { |value| pairs << [name, value] }
    end

    # Sorted by name, then by value: what is left after encoding is ASCII.
    query = pairs.map { |pair| pair.map { |text| encode(text.to_s) } }.sort.map { |pair| pair.join("=") }.join("&")
    path = "/v1/exports/#{export}.#{format}"
    signature = OpenSSL::HMAC.hexdigest("SHA256", @secret, "ROWLINK1-HMAC-SHA256\n#{path}\n#{query}")
    url = "#{@public_url}#{path}?#{query}&rl_signature=#{signature}"
    raise ArgumentError, "url: #{url.bytesize} bytes long, expected at most #{URL_BYTES_MAX}" if url.bytesize > URL_BYTES_MAX

    url
  end

  private

  # RFC 3986: what is not unreserved becomes %HH.
  def encode(text)
    text.b.gsub(/[^A-Za-z0-9\-._~]/n) { |byte| format("%%%02X", byte.ord) }
  end

  def decode(base64)
    (base64 + "=" * (-base64.length % 4)).unpack1("m0")
  rescue ArgumentError
    ""
  end

  # RFC 9562, section 5.7.
  def uuid7
    bytes = [Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)].pack("Q>")[2..] + SecureRandom.bytes(10)
    bytes.setbyte(6, bytes.getbyte(6) & 0x0f | 0x70)
    bytes.setbyte(8, bytes.getbyte(8) & 0x3f | 0x80)
    bytes.unpack("H8H4H4H4H12").join("-")
  end
end
