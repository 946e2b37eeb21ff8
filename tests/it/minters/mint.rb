# frozen_string_literal: true

# Signs one link per form-encoded line of standard input; prints one URL per line.

require "uri"
require "#{ARGV.shift}/rowlink"

$stdin.set_encoding("UTF-8")
while (line = $stdin.gets)
  fields = { "filter" => {}, "claim" => {}, "option" => {} }
  URI.decode_www_form(line.chomp).each do |name, value|
    group, member = name.split(".", 2)
    case group
    when "filter" then (fields["filter"][member.to_s] ||= []) << value
    when "claim", "option" then fields[group][member] = value
    else fields[name] = value
    end
  end
  number = ->(name) { fields[name]&.to_i }
  flag = ->(name) { fields[name] && fields[name] == "true" }
  begin
    puts Rowlink.new(fields["public_url"], fields["key"]).mint(
      fields["export"], fields["format"], user: fields["user"], expires_in: number["expires_in"], filters: fields["filter"],
      claims: fields["claim"], options: fields["option"], reveal: fields["reveal"]&.split(",", -1) || [], filename: fields["filename"], not_before: number["not_before"],
      ip: fields["ip"], max_rows: number["max_rows"], max_bytes: number["max_bytes"],
      resume_seconds: number["resume_seconds"], single_use: flag["single_use"], confirm: flag["confirm"],
      bind: fields["bind"], reason: fields["reason"], issued: number["issued"], link_id: fields["link_id"]
    )
  rescue ArgumentError => e
    puts "refused #{e.message}"
  end
end
