use serde_json::json;

use super::*;

fn rules(ingress: &[&str], egress: &[&str]) -> Result<GroupRules> {
    let parsed = |rules: &[&str]| rules.iter().map(|rule| rule.parse()).collect::<Result<Vec<Rule>>>();
    Ok(GroupRules { ingress: parsed(ingress)?, egress: parsed(egress)? })
}

fn lines(flows: &FlowSet) -> Vec<String> {
    flows.to_string().lines().map(|line| line.trim().to_owned()).collect()
}

fn opened_lines(before: &[&str], after: &[&str]) -> Result<Vec<String>> {
    Ok(lines(&opened(&rules(before, &[])?, &rules(after, &[])?)?))
}

#[test]
fn a_flow_set_reads_as_it_is_written() -> Result<()> {
    let texts = [
        "ingress icmp 3:4 10.0.0.0/8",
        "ingress icmp 8 10.0.0.0/8",
        "ingress tcp 22 0.0.0.0/0",
        "ingress udp * ::/0",
        "ingress tcp 443 group sg-1",
        "ingress tcp 80-443 prefixlist pl-1",
        "egress all 0.0.0.0/0",
        "egress 50 fd00::/8",
    ];
    let flows = FlowSet::parse(texts)?;
    assert_eq!(lines(&flows), texts);
    assert_eq!(FlowSet::parse(lines(&flows).iter().map(String::as_str))?, flows);
    Ok(())
}

#[test]
fn nothing_is_opened_by_the_same_flows_in_other_words() -> Result<()> {
    let same: [(&[&str], &[&str]); 5] = [
        (&["tcp 22 0.0.0.0/0"], &["tcp 22 0.0.0.0/1", "tcp 22 128.0.0.0/1"]),
        (&["tcp 20-25 ::/0"], &["tcp 20-22 ::/0", "tcp 22-25 ::/0"]),
        (&["all 10.0.0.0/8"], &["all 10.0.0.0/8", "tcp 22 10.1.0.0/16"]),
        (&["icmp 8 10.0.0.0/8"], &["icmp 8:0 10.0.0.0/8", "icmp 8 10.0.0.0/8"]),
        (&["tcp 1 10.0.0.0/8", "tcp 2 10.0.0.0/9", "tcp 2 10.128.0.0/9"], &["tcp 1-2 10.0.0.0/8"]),
    ];
    for (before, after) in same {
        let (before, after) = (rules(before, &[])?, rules(after, &[])?);
        assert_eq!(FlowSet::of(&before)?, FlowSet::of(&after)?);
        assert!(opened(&before, &after)?.is_empty());
        assert!(lost(&before, &after)?.is_empty());
    }
    Ok(())
}

#[test]
fn what_is_opened_is_exact() -> Result<()> {
    assert_eq!(opened_lines(&[], &["tcp 22 0.0.0.0/0"])?, ["ingress tcp 22 0.0.0.0/0"]);
    assert_eq!(opened_lines(&["tcp 22 10.0.0.0/8"], &["tcp 22 10.0.0.0/7"])?, ["ingress tcp 22 11.0.0.0/8"]);
    assert_eq!(
        opened_lines(&["tcp 80 0.0.0.0/0"], &["tcp 79-81 0.0.0.0/0"])?,
        ["ingress tcp 79 0.0.0.0/0", "ingress tcp 81 0.0.0.0/0"]
    );
    assert_eq!(opened_lines(&["tcp 22 0.0.0.0/0"], &["tcp 22 0.0.0.0/0", "tcp 22 ::/0"])?, ["ingress tcp 22 ::/0"]);
    assert_eq!(opened_lines(&["tcp 22 group sg-1"], &["tcp 22 group sg-2"])?, ["ingress tcp 22 group sg-2"]);
    Ok(())
}

#[test]
fn everything_but_a_port_is_told_by_protocol() -> Result<()> {
    let before = rules(&["all 0.0.0.0/0"], &[])?;
    let after = rules(&["tcp 443 0.0.0.0/0"], &[])?;
    assert_eq!(
        lines(&lost(&before, &after)?),
        [
            "ingress protocols 0-5 0.0.0.0/0",
            "ingress tcp 0-442 0.0.0.0/0",
            "ingress tcp 444-65535 0.0.0.0/0",
            "ingress protocols 7-255 0.0.0.0/0",
        ]
    );
    assert!(opened(&before, &after)?.is_empty());
    Ok(())
}

#[test]
fn directions_and_edges_do_not_mix() -> Result<()> {
    let before = rules(&["tcp 22 10.0.0.0/8"], &[])?;
    let after = rules(&[], &["tcp 22 10.0.0.0/8"])?;
    assert_eq!(lines(&opened(&before, &after)?), ["egress tcp 22 10.0.0.0/8"]);
    assert_eq!(lines(&lost(&before, &after)?), ["ingress tcp 22 10.0.0.0/8"]);
    let last = rules(&["255 255.255.255.255/32", "255 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"], &[])?;
    assert_eq!(
        lines(&FlowSet::of(&last)?),
        ["ingress 255 255.255.255.255/32", "ingress 255 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",]
    );
    Ok(())
}

/// Checks the region arithmetic against membership of single flows, over all pairs of a small family of sets.
#[test]
fn arithmetic_agrees_with_membership() -> Result<()> {
    let family = [
        "ingress all 0.0.0.0/0",
        "ingress tcp * 10.0.0.0/8",
        "ingress tcp 22 0.0.0.0/0",
        "ingress tcp 20-25 10.0.0.0/9",
        "ingress tcp 23-443 10.64.0.0/10",
        "ingress udp 53 10.0.0.0/8",
        "ingress icmp 8 0.0.0.0/1",
    ];
    let points = ["tcp 21", "tcp 22", "tcp 24", "tcp 443", "tcp 444", "udp 53", "icmp 8:3", "50"];
    let hosts = ["10.0.0.1/32", "10.70.0.1/32", "10.200.0.1/32", "192.168.0.1/32"];
    let has = |set: &FlowSet, point: &str, host: &str| -> Result<bool> {
        let flow = FlowSet::parse([format!("ingress {point} {host}").as_str()])?;
        Ok(flow.difference(set).is_empty())
    };
    for a in family {
        for b in family {
            let (a, b) = (FlowSet::parse([a])?, FlowSet::parse([b])?);
            for (point, host) in points.iter().flat_map(|point| hosts.map(|host| (point, host))) {
                let (in_a, in_b) = (has(&a, point, host)?, has(&b, point, host)?);
                assert_eq!(has(&a.union(&b), point, host)?, in_a || in_b);
                assert_eq!(has(&a.intersection(&b), point, host)?, in_a && in_b);
                assert_eq!(has(&a.difference(&b), point, host)?, in_a && !in_b);
            }
        }
    }
    Ok(())
}

fn write(before: &[&str], after: &[&str]) -> Result<Call> {
    let json = |rules: &[&str]| -> Result<serde_json::Value> {
        let rules = rules.iter().map(|rule| rule.parse()).collect::<Result<Vec<Rule>>>()?;
        Ok(json!({"ingress": rules, "egress": []}))
    };
    Ok(serde_json::from_value(json!({
        "seq": 7, "time": 0.0, "operation": "AuthorizeSecurityGroupIngress", "effect": true, "principal": "role",
        "groups": [{"groupId": "sg-1", "before": json(before)?, "after": json(after)?}],
    }))?)
}

#[test]
fn a_write_that_opens_is_named() -> Result<()> {
    let calls = [
        write(&["tcp 22 0.0.0.0/0"], &["tcp 22 0.0.0.0/0", "tcp 443 10.0.0.0/8"])?,
        write(&["tcp 22 0.0.0.0/0", "tcp 443 10.0.0.0/8"], &["tcp 443 10.0.0.0/8"])?,
    ];
    assert_never_opened(&calls, &FlowSet::parse(["ingress tcp 443 10.0.0.0/8"])?)?;
    let error = assert_never_opened(&calls, &FlowSet::parse(["ingress tcp 443 10.0.0.0/9"])?);
    assert_eq!(
        error.unwrap_err().to_string(),
        "writes opened what they must not have:\n\
         call 7, AuthorizeSecurityGroupIngress, opened in sg-1:\n  ingress tcp 443 10.128.0.0/9\n"
    );
    Ok(())
}

#[test]
fn a_write_that_cuts_is_named_also_if_the_next_one_mends_it() -> Result<()> {
    let calls = [write(&["tcp 443 10.0.0.0/8"], &[])?, write(&[], &["tcp 443 10.0.0.0/8"])?];
    assert_never_lost(&calls, &FlowSet::parse(["ingress tcp 80 10.0.0.0/8"])?)?;
    let lost = assert_never_lost(&calls, &FlowSet::parse(["ingress tcp * 10.1.0.0/16"])?);
    let error = lost.unwrap_err().to_string();
    assert!(error.ends_with("cut in sg-1:\n  ingress tcp 443 10.1.0.0/16\n"), "{error}");
    Ok(())
}

#[test]
fn writes_of_others_do_not_count() -> Result<()> {
    let mut call = write(&[], &["tcp 22 0.0.0.0/0"])?;
    call.principal = Some("foreign".to_owned());
    assert_never_opened(&[call], &FlowSet::default())
}
