# frozen_string_literal: true

# Signs one link per form-encoded line of standard input; prints one URL per line.

require "uri"
require "#{ARGV.shift}/rowlink"

$stdin.set_encoding("UTF-8")
while (line = $stdin.gets)
  said = { "filter" => {}, "claim" => {}, "option" => {} }
  URI.decode_www_form(line.chomp).each do |name, value|
    group, member = name.split(".", 2)
    case group
    when "filter" then (said["filter"][member.to_s] ||= []) << value
    when "claim", "option" then said[group][member] = value
    else said[name] = value
    end
  end
  number = ->(name) { said[name]&.to_i }
  begin
    puts Rowlink.new(said["public_url"], said["key"]).mint(
      said["export"], said["format"], user: said["user"], expires_in: number["expires_in"], filters: said["filter"],
      claims: said["claim"], options: said["option"], filename: said["filename"], not_before: number["not_before"],
      ip: said["ip"], max_rows: number["max_rows"], max_bytes: number["max_bytes"], issued: number["issued"],
      link_id: said["link_id"]
    )
  rescue ArgumentError => e
    puts "refused #{e.message}"
  end
end
