# Checks assertions of linkgate with ruby-jwt. Usage: ruby verify.rb KEY_SET_URL ISSUER AUDIENCE < assertions, one a line
require "json"
require "jwt"
require "net/http"

URL, ISSUER, AUDIENCE = ARGV
ARGV.clear

# The key set may be kept for five minutes: a new key is shown for longer than that before it signs.
def keys
  now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  return @keys if @keys && now < @keys_until

  @keys = JSON.parse(Net::HTTP.get(URI(URL)), symbolize_names: true)
  @keys_until = now + 300
  @keys
end

def verify(assertion)
  claims, header = JWT.decode(
    assertion, nil, true,
    algorithms: ["ES256"], jwks: keys,
    iss: ISSUER, verify_iss: true, aud: AUDIENCE, verify_aud: true, leeway: 10
  )
  raise JWT::DecodeError, "it demands something unknown" if header.key?("crit")
  # An array with it and others is for others too.
  raise JWT::DecodeError, "it is for others too" unless claims["aud"] == AUDIENCE
  raise JWT::DecodeError, "it has no end" unless claims["exp"].is_a?(Integer)
  raise JWT::DecodeError, "it is about nobody" if claims["sub"].to_s.empty?
  claims
end

refused = false
$stdin.each_line do |line|
  claims = verify(line.strip)
  puts "good #{claims["sub"]} #{claims["email"] || "-"}"
rescue JWT::DecodeError => error
  refused = true
  puts "refused #{error.message}"
end
exit(refused ? 1 : 0)
