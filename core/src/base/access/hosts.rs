//! Rules for hosts: how they are written, and which of them decides.

use std::net::{IpAddr, Ipv6Addr};

use url::Host;

use super::RuleVerdict;
use crate::base::Result;
use crate::err;

/// The hosts that a rule holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    /// A name as DNS has it, in ASCII; a star stands for any part of it.
    Name(String),
    Address(IpAddr),
    /// The four numbers of an address, some of them any.
    Numbers([Option<u8>; 4]),
}

impl Pattern {
    fn holds(&self, host: &Host<&str>) -> bool {
        match (self, address(host)) {
            (Self::Any, _) => true,
            (Self::Name(pattern), None) => fits(pattern, &plain(&host.to_string())),
            (Self::Name(_), Some(_)) | (_, None) => false,
            (numbers, Some(address)) => numbers.has(address),
        }
    }

    /// Returns whether the pattern matches this address by its numbers.
    fn has(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::Address(known), address) => *known == address,
            (Self::Numbers(numbers), IpAddr::V4(address)) => {
                numbers.iter().zip(address.octets()).all(|(number, octet)| number.is_none_or(|number| number == octet))
            }
            _ => false,
        }
    }

    /// Returns how specific the pattern is.
    fn stated(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Name(pattern) => pattern.bytes().filter(|letter| *letter != b'*').count(),
            Self::Address(_) => 4,
            Self::Numbers(numbers) => numbers.iter().flatten().count(),
        }
    }
}

/// One rule: a host as it may be written on the command line, and whether it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostRule {
    pattern: Pattern,
    /// The only port that the rule holds for, if it has one.
    port: Option<u16>,
    allowed: bool,
}

impl HostRule {
    fn parse(typed: &str, allowed: bool) -> Result<Self> {
        let (pattern, port) = parsed(typed).map_err(|hint| {
            let option = if allowed { "--allow-net" } else { "--deny-net" };
            err!(Argument, "expected a host after {option}, found `{typed}`").hint(match hint {
                Wrong::Address(host) => format!("give the host alone, not a URL or a path: {option} {host}"),
                Wrong::Because(why) => why.into(),
            })
        })?;
        Ok(Self { pattern, port, allowed })
    }
}

/// Reasons for which a rule cannot be read.
enum Wrong {
    /// A URL of something at this host.
    Address(String),
    Because(&'static str),
}

const FORMS: &str = "write a name or an address, with or without a port, and with * as a wildcard: example.org, \
                     example.org:8080, *.example.org, 127.0.0.*, [::1], or * for every host";
const FOUR: &str = "an IPv4 address has four numbers, each from 0 to 255 or a star, as in 127.0.0.*; an IPv6 address, \
                    such as [::1], takes no stars";
const PORT: &str = "a port is a number from 0 to 65535; without one a rule holds for all ports";

fn parsed(typed: &str) -> Result<(Pattern, Option<u16>), Wrong> {
    if let Some((network, bits)) = typed.split_once('/')
        && network.parse::<IpAddr>().is_ok()
        && bits.parse::<u8>().is_ok()
    {
        return Err(Wrong::Because("a range of addresses is written with stars, as in 10.0.*.*"));
    }
    if typed.contains(['/', '?', '#', '@', '\\']) {
        let rest = typed.split_once("://").map_or(typed, |(_, rest)| rest);
        let place = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
        let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
        return Err(match parsed(host) {
            Ok(_) => Wrong::Address(host.into()),
            Err(_) => Wrong::Because(FORMS),
        });
    }
    if let Ok(address) = typed.parse::<Ipv6Addr>() {
        return Ok((Pattern::Address(IpAddr::V6(address).to_canonical()), None));
    }
    let (host, port) = match typed.rfind(']') {
        // The colons of a numeric address are no port.
        Some(end) => typed.split_at(end + 1),
        None if typed.starts_with('[') => return Err(Wrong::Because(FORMS)),
        None => typed.split_at(typed.find(':').unwrap_or(typed.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| Wrong::Because(PORT))?)
        }
        Some(_) => return Err(Wrong::Because(PORT)),
        None if port.is_empty() => None,
        None => return Err(Wrong::Because(FORMS)),
    };
    Ok((pattern(host.strip_suffix('.').unwrap_or(host))?, port))
}

fn pattern(host: &str) -> Result<Pattern, Wrong> {
    if host == "*" {
        return Ok(Pattern::Any);
    }
    // Percent-encoding is decoded in URLs, and never meant in a rule.
    if host.contains('%') {
        return Err(Wrong::Because(FORMS));
    }
    if !host.contains('*') {
        return match Host::parse(host).map_err(|_| Wrong::Because(FORMS))? {
            Host::Domain(name) => Ok(Pattern::Name(plain(&name))),
            Host::Ipv4(address) => Ok(Pattern::Address(address.into())),
            Host::Ipv6(address) => Ok(Pattern::Address(IpAddr::V6(address).to_canonical())),
        };
    }
    let labels: Vec<&str> = host.split('.').collect();
    // A pattern of numbers is one of addresses: `127.0.0.*` is not to allow a name such as 127.0.0.example.org.
    if labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_digit() || b == b'*')) {
        let number = |label: &&str| match *label {
            "*" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| Wrong::Because(FOUR)),
        };
        let numbers: Vec<Option<u8>> = labels.iter().map(number).collect::<Result<_, _>>()?;
        return Ok(Pattern::Numbers(numbers.try_into().map_err(|_| Wrong::Because(FOUR))?));
    }
    let labels: Vec<String> = labels.into_iter().map(label).collect::<Result<_, _>>()?;
    Ok(Pattern::Name(labels.join(".")))
}

/// Returns a part of a name as DNS has it.
fn label(typed: &str) -> Result<String, Wrong> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*');
    match typed {
        ascii if !ascii.is_empty() && ascii.bytes().all(is_plain) => Ok(ascii.to_lowercase()),
        letters if letters.contains('*') && !letters.is_ascii() => {
            Err(Wrong::Because("a part of a name that has a star must be written in ASCII"))
        }
        letters if !letters.is_ascii() => match Host::parse(letters) {
            Ok(Host::Domain(name)) => Ok(name),
            _ => Err(Wrong::Because(FORMS)),
        },
        _ => Err(Wrong::Because(FORMS)),
    }
}

/// Returns a host's name as rules are compared with it: `Example.org.` is `example.org`.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_lowercase()
}

/// Returns the address of a host that is named by its numbers. The longer form of a shorter address is that address.
fn address(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address).to_canonical()),
    }
}

/// Returns whether a name fits a pattern, where a star stands for any letters and dots, none included.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        // Each part but the last can be matched where it first occurs.
        if let Some(before) = last.replace(part) {
            match rest.find(before) {
                Some(at) => rest = rest.get(at + before.len()..).unwrap_or_default(),
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// Allowed and denied hosts; what no rule holds for is denied.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    built_in: Vec<HostRule>,
    given: Vec<HostRule>,
}

impl Hosts {
    /// Allows only these hosts, written like rules.
    pub fn only(hosts: &[String]) -> Result<Self> {
        let built_in = hosts.iter().map(|host| HostRule::parse(host, true)).collect::<Result<_>>()?;
        Ok(Self { built_in, given: Vec::new() })
    }

    /// Adds rules as the command line has them.
    pub fn add(&mut self, typed: &[String], allowed: bool) -> Result<()> {
        for host in typed {
            self.given.push(HostRule::parse(host, allowed)?);
        }
        Ok(())
    }

    /// Decides by given rules where they apply, since a denial holds against whatever is allowed by default.
    pub fn judge(&self, host: &Host<&str>, port: Option<u16>) -> RuleVerdict {
        let holds = |rule: &&HostRule| {
            rule.pattern.holds(host) && rule.port.is_none_or(|wanted| port.is_none_or(|p| p == wanted))
        };
        match (deciding(self.given.iter().filter(holds)), deciding(self.built_in.iter().filter(holds))) {
            (Some(true), _) | (None, Some(true)) => RuleVerdict::Allowed,
            (Some(false), _) => RuleVerdict::Denied,
            (None, _) => RuleVerdict::NotAllowed,
        }
    }

    /// Returns whether connections to an address are denied, whatever name was resolved to it. The port is not known
    /// here, so a denial for one port denies all, and a rule that allows one port allows none.
    pub fn denies(&self, address: IpAddr) -> bool {
        let holds = |rule: &&HostRule| rule.pattern.has(address) && !(rule.allowed && rule.port.is_some());
        deciding(self.given.iter().filter(holds)) == Some(false)
    }
}

/// Returns the verdict of the longest of some rules; at equal length a denial wins.
fn deciding<'a>(rules: impl Iterator<Item = &'a HostRule>) -> Option<bool> {
    rules.max_by_key(|rule| (rule.pattern.stated(), rule.port.is_some(), !rule.allowed)).map(|rule| rule.allowed)
}

/// Returns the rule for the host that an address names, where it names one.
pub fn host_rule(host: &str) -> Option<String> {
    let host = plain(host);
    let is_one = !host.is_empty() && !host.contains('*') && parsed(&host).is_ok();
    is_one.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    fn hosts(built_in: &[&str], allowed: &[&str], denied: &[&str]) -> Hosts {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut hosts = Hosts::only(&owned(built_in)).unwrap();
        hosts.add(&owned(allowed), true).unwrap();
        hosts.add(&owned(denied), false).unwrap();
        hosts
    }

    fn allows(hosts: &Hosts, address: &str) -> bool {
        let url = Url::parse(&format!("http://{address}/")).unwrap();
        hosts.judge(&url.host().unwrap(), url.port_or_known_default()) == RuleVerdict::Allowed
    }

    #[test]
    fn a_denial_wins_over_what_is_built_in_however_short_it_is() {
        for denied in ["*", "*.co", "huggingface.co", "h*", "huggingface.co:80"] {
            let hosts = hosts(&["huggingface.co", "*.hf.co"], &[], &[denied]);
            assert!(!allows(&hosts, "huggingface.co"), "{denied}");
        }
        let hosts = hosts(&["huggingface.co", "*.hf.co"], &["data.hf.co"], &["*"]);
        assert!(allows(&hosts, "data.hf.co") && !allows(&hosts, "cas.hf.co") && !allows(&hosts, "huggingface.co"));
    }

    #[test]
    fn of_what_is_given_the_longest_rule_decides_and_a_denial_wins_a_tie() {
        let hosts =
            hosts(&[], &["*.example.net", "tie.org", "ports.org"], &["bad.example.net", "tie.org", "ports.org:81"]);
        assert!(allows(&hosts, "a.b.example.net") && !allows(&hosts, "example.net"));
        // The same host, as DNS also spells it.
        assert!(!allows(&hosts, "bad.example.net") && !allows(&hosts, "BAD.example.net."));
        assert!(!allows(&hosts, "tie.org"));
        assert!(allows(&hosts, "ports.org") && !allows(&hosts, "ports.org:81"));
    }

    #[test]
    fn numbers_are_those_of_addresses_however_they_are_written() {
        let denied = hosts(&[], &["*"], &["127.0.0.*", "[::1]:80", "10.0.0.1"]);
        for host in ["127.0.0.1", "127.0.0.255", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "[::1]", "10.0.0.1"] {
            assert!(!allows(&denied, host), "{host}");
        }
        for host in ["127.0.1.1", "[::1]:81", "10.0.0.2", "127.0.0.example.org"] {
            assert!(allows(&denied, host), "{host}");
        }
        // Allowing numbers allows no name that looks like them.
        let allowed = hosts(&[], &["127.0.0.*"], &[]);
        assert!(allows(&allowed, "127.0.0.9") && !allows(&allowed, "127.0.0.example.org"));
    }

    #[test]
    fn an_address_that_is_denied_is_so_under_every_name() {
        let hosts = hosts(&[], &["*", "10.0.0.5", "10.0.0.6:80"], &["10.*.*.*", "::1", "192.168.0.1:81"]);
        for (address, denied) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.0.0.5", false),
            ("10.0.0.6", true),
            ("192.168.0.1", true),
            ("::1", true),
            ("8.8.8.8", false),
        ] {
            assert_eq!(hosts.denies(address.parse().unwrap()), denied, "{address}");
        }
        // Rules for names and for everything are judged by the name.
        assert!(!super::Hosts::denies(&self::hosts(&[], &[], &["*", "x.org"]), "8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn names_in_other_letters_are_what_dns_makes_of_them_on_both_sides() {
        for rule in ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "*.bücher.example"] {
            let hosts = hosts(&[], &[rule], &[]);
            let name = if rule.starts_with('*') { "a." } else { "" };
            for host in ["bücher.example", "xn--bcher-kva.example", "BüCHER.example"] {
                assert!(allows(&hosts, &format!("{name}{host}")), "{rule} {host}");
            }
        }
    }

    #[test]
    fn stars_stand_for_any_part() {
        for (pattern, name, holds) in [
            ("*.org", "a.b.org", true),
            ("*.org", ".org", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axcxb", false),
            ("a*a", "a", false),
            ("a*", "a", true),
            ("cdn-*.example.org", "cdn-7.example.org", true),
            ("cdn-*.example.org", "cdn.example.org", false),
        ] {
            assert_eq!(fits(pattern, name), holds, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_what_would_do() {
        for (typed, said) in [
            ("http://example.org/x", "--deny-net example.org"),
            ("https://me:pw@example.org:8080", "--deny-net example.org:8080"),
            ("example.org/path", "--deny-net example.org"),
            ("10.0.0.0/8", "10.0.*.*"),
            ("example.org:http", "a port is a number"),
            ("example.org:70000", "a port is a number"),
            ("example.org:*", "a port is a number"),
            ("127.*", "four numbers"),
            ("127.0.0.1*", "four numbers"),
            ("300.0.0.*", "four numbers"),
            ("bü*.example", "written in ASCII"),
            ("", "write a name"),
            (".", "write a name"),
            ("a b", "write a name"),
            ("a..*", "write a name"),
            ("ex%61mple.org", "write a name"),
            ("[::1", "write a name"),
            ("[::1]x", "write a name"),
            ("file:///etc", "write a name"),
        ] {
            let error = HostRule::parse(typed, false).unwrap_err();
            assert_eq!(error.kind, crate::base::Kind::Argument);
            assert!(error.message.ends_with(&format!("found `{typed}`")), "{}", error.message);
            let hint = error.hint.unwrap();
            assert!(hint.contains(said), "{typed}: {hint}");
        }
    }
}
