# Checks assertions of linkgate with Crypt::JWT. Usage: perl verify.pl KEY_SET_URL ISSUER AUDIENCE < assertions, one a line
use strict;
use warnings;
use Crypt::JWT qw(decode_jwt);
use HTTP::Tiny;
use JSON::PP;

my ($url, $issuer, $audience) = @ARGV;

my ($kept, $kept_until) = (undef, 0);

# The key set may be kept for five minutes: a new key is shown for longer than that before it signs. For https:// this
# needs IO::Socket::SSL.
sub key_set {
    return $kept if time < $kept_until;
    my $answer = HTTP::Tiny->new(verify_SSL => 1)->get($url);
    die "no key set: $answer->{status}\n" unless $answer->{success};
    ($kept, $kept_until) = (decode_json($answer->{content}), time + 300);
    return $kept;
}

sub verify {
    my ($assertion) = @_;
    die "it has not three parts\n" unless $assertion =~ /\A[\w-]+\.[\w-]+\.[\w-]+\z/;
    my ($header, $claims) = decode_jwt(
        token => $assertion, kid_keys => key_set(), accepted_alg => 'ES256', decode_header => 1,
        verify_iss => $issuer, verify_exp => 1, verify_nbf => 1, verify_iat => 1, leeway => 10,
        verify_aud => sub { !ref $_[0] && $_[0] eq $audience },
        verify_sub => sub { defined $_[0] && length $_[0] },
    );
    die "it names no key\n" unless defined $header->{kid};
    die "it demands something unknown\n" if exists $header->{crit};
    # A claim that is missing must not pass for one that is right.
    defined $claims->{$_} or die "it lacks $_\n" for qw(iss aud sub exp iat);
    die "its end is no number\n" unless $claims->{exp} =~ /\A\d+\z/;
    return $claims;
}

my $refused = 0;
while (my $line = <STDIN>) {
    chomp $line;
    if (my $claims = eval { verify($line) }) {
        print "good $claims->{sub} ", $claims->{email} // '-', "\n";
    } else {
        $refused = 1;
        print 'refused ', $@ =~ s/\s+/ /gr, "\n";
    }
}
exit $refused;
