//! What the real look-ups make of a resolver's answers.

use base::Domain;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, PTR, SOA, TLSA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use mta::{Answer, Dns, LookupError, Mx, Names, Tlsa};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::UdpSocket;

async fn resolver() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let answer = answer(&Message::from_vec(&buffer[..length]).unwrap());
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

fn answer(question: &Message) -> Message {
    let mut answer = question.clone();
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_available = true;
    let asked = question.queries[0].clone();
    let name = asked.name().clone();
    let host = |text: &str| Name::from_ascii(text).unwrap();
    let soa = SOA::new(host("example.net."), host("h.example.net."), 1, 60, 60, 60, 60);
    // Only who asks for it is told what validated.
    answer.metadata.authentic_data = question.metadata.authentic_data && name.to_ascii().contains("example.net");
    let data = match (name.to_ascii().as_str(), asked.query_type()) {
        ("alias.example.net.", kind) => {
            answer.answers.push(Record::from_rdata(name, 60, RData::CNAME(CNAME(host("mx.example.net.")))));
            if kind == RecordType::A {
                let address = RData::A(A(Ipv4Addr::new(192, 0, 2, 1)));
                answer.answers.push(Record::from_rdata(host("mx.example.net."), 60, address));
            }
            return answer;
        }
        ("_25._tcp.mx.example.net.", RecordType::TLSA) => {
            RData::TLSA(TLSA::new(3.into(), 1.into(), 1.into(), vec![7; 32]))
        }
        ("_mta-sts.example.net.", RecordType::TXT) => RData::TXT(TXT::new(vec!["v=STSv1; ".into(), "id=1;".into()])),
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR) => RData::PTR(PTR(host("mx.example.net."))),
        ("example.net.", RecordType::MX) => RData::MX(MX::new(10, host("Mx.example.net."))),
        ("nomail.example.", RecordType::MX) => RData::MX(MX::new(0, Name::root())),
        ("mx.example.net.", RecordType::A) => RData::A(A(Ipv4Addr::new(192, 0, 2, 1))),
        ("broken.example." | "_25._tcp.broken.example.", _) => {
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer;
        }
        (other, _) => {
            if other == "missing.example." {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.authorities.push(Record::from_rdata(host("example.net."), 60, RData::SOA(soa)));
            return answer;
        }
    };
    answer.answers.push(Record::from_rdata(name, 60, data));
    answer
}

#[tokio::test]
async fn a_resolvers_answers_are_told_apart() {
    let names = Dns::new(resolver().await).unwrap();
    let domain = |text| Domain::parse(text).unwrap();
    let mx = |preference, exchange: &str| Ok(vec![Mx { preference, exchange: exchange.into() }]);
    assert_eq!(names.mx(&domain("example.net")).await, mx(10, "mx.example.net"));
    assert_eq!(names.mx(&domain("nomail.example")).await, mx(0, ""));
    assert_eq!(names.mx(&domain("plain.example")).await, Ok(vec![]));
    assert_eq!(names.mx(&domain("missing.example")).await, Err(LookupError::NoSuchName));
    assert!(matches!(names.mx(&domain("broken.example")).await, Err(LookupError::Passing(_))));
    assert_eq!(names.addresses(&domain("mx.example.net")).await, Ok(vec![Ipv4Addr::new(192, 0, 2, 1).into()]));
    assert_eq!(names.addresses(&domain("plain.example")).await, Ok(vec![]));
    assert_eq!(names.addresses(&domain("missing.example")).await, Err(LookupError::NoSuchName));
}

#[tokio::test]
async fn what_dnssec_vouches_for_is_known() {
    let names = Dns::new(resolver().await).unwrap();
    let domain = |text| Domain::parse(text).unwrap();
    assert!(names.mx_answer(&domain("example.net")).await.unwrap().secure);
    assert!(!names.mx_answer(&domain("nomail.example")).await.unwrap().secure);
    let tlsa = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    assert_eq!(names.tlsa(&domain("mx.example.net"), 25).await, Ok(Answer::secure(vec![tlsa])));
    assert_eq!(names.tlsa(&domain("missing.example"), 25).await.unwrap().records, []);
    // A bogus answer is SERVFAIL, and that is not the same as none.
    assert!(matches!(names.tlsa(&domain("broken.example"), 25).await, Err(LookupError::Passing(_))));
    let alias = names.address_answer(&domain("alias.example.net")).await.unwrap();
    assert_eq!(alias.canonical, Some(domain("mx.example.net")));
    assert_eq!((alias.secure, alias.records), (true, vec![Ipv4Addr::new(192, 0, 2, 1).into()]));
    assert_eq!(names.alias(&domain("alias.example.net")).await.unwrap().records, [domain("mx.example.net")]);
    assert_eq!(names.txt("_mta-sts.example.net").await.unwrap(), ["v=STSv1; id=1;"]);
    assert_eq!(names.pointers(Ipv4Addr::new(192, 0, 2, 1).into()).await.unwrap(), [domain("mx.example.net")]);
}
