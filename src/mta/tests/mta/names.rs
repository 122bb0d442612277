//! What the real look-ups make of a resolver's answers.

use base::Domain;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, MX, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use mta::{Dns, LookupError, Mx, Names};
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
    let data = match (name.to_ascii().as_str(), asked.query_type()) {
        ("example.net.", RecordType::MX) => RData::MX(MX::new(10, host("Mx.example.net."))),
        ("nomail.example.", RecordType::MX) => RData::MX(MX::new(0, Name::root())),
        ("mx.example.net.", RecordType::A) => RData::A(A(Ipv4Addr::new(192, 0, 2, 1))),
        ("broken.example.", _) => {
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
