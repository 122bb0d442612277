//! Mailing lists: what goes out, who may post, and what a list answers.

use crate::house::{House, address, eventually};
use crate::peer::Peer;
use wire::mta::{DecidePost, HeldPosts, Way, What};

const POST: &str = "From: joe@example.net\r\nSubject: AUTHENTIC hello\r\n\r\nhi";

/// The address in angle brackets or in the text that begins with this.
fn find(text: &str, start: &str) -> String {
    let at = text.find(start).unwrap_or_else(|| panic!("{start} is not in {text}"));
    text[at..].split(['>', ' ', '\r', ',']).next().unwrap().trim_end_matches('.').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_post_goes_to_every_member_with_the_lists_fields_and_a_way_out_of_their_own() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    assert!(client.mail("joe@example.net", &["club@example.org"], POST).await.starts_with("250"));
    let (joe, pat) = (peer.message_for("joe@example.net").await, peer.message_for("pat@example.net").await);
    let ann = house.message_for("ann@example.org").await;
    for copy in [&joe, &pat, &ann] {
        for line in [
            "ARC-Seal: i=1; d=example.org; was=",
            "DKIM-Signature: v=1; d=example.org\r\n",
            "List-Id: The club <club.example.org>\r\n",
            "List-Post: <mailto:club@example.org>\r\n",
            "Precedence: list\r\n",
            "Sender: <club@example.org>\r\n",
            "From: joe@example.net\r\n",
        ] {
            assert!(copy.contains(line), "{line} is not in {copy}");
        }
        assert!(!copy.contains("score=1.5") && copy.ends_with("hi\r\n") | copy.ends_with("hi\r\n\r\n"), "{copy}");
    }
    assert!(ann.contains("X-Mailstead-Verdict: accept"), "{ann}");
    let ways: Vec<_> = [&joe, &pat, &ann].iter().map(|copy| find(copy, "club+unsubscribe-")).collect();
    assert!(ways[0] != ways[1] && ways[1] != ways[2]);
    let senders = [peer.sender_for("joe@example.net"), peer.sender_for("pat@example.net")];
    assert!(
        senders.iter().all(|sender| sender.starts_with("club+bounces-")) && senders[0] != senders[1],
        "{senders:?}"
    );
    let folder = house.paths.queue().join(".lists/out");
    eventually(|| std::fs::read_dir(&folder).unwrap().count() == 0).await;
    // What became of each copy can be looked up like any message.
    for (member, last) in [("pat@example.net", What::Sent), ("ann@example.org", What::Stored)] {
        let told = house.told(&[member, "hello"], last).await;
        assert_eq!((told.arrival.way, told.arrival.account), (Way::List, Some(address("club@example.org"))));
    }

    // It does not go round again, and one letter to the way out is enough, wherever it comes from.
    let again = client.mail("joe@example.net", &["club@example.org"], pat.trim_end()).await;
    assert!(again.starts_with("554 5.4.6 this message has been through club@example.org before"), "{again}");
    assert!(client.mail("x@other.example", &[&ways[1]], "Subject: bye\r\n\r\n").await.starts_with("250"));
    assert!(!house.members.lock().unwrap().contains_key(&address("pat@example.net")));
    client.expect("MAIL FROM:<>", "250").await;
    client.expect("RCPT TO:<club+unsubscribe-aaaaaaaaaaaaaaaa@example.org>", "250").await;
    client.expect("DATA", "354").await;
    assert!(client.ask("Subject: x\r\n\r\n.").await.starts_with("550 5.1.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_or_does_not_prove_it_waits_for_a_moderator() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let control = wire::Client::new(house.paths.clone());
    let mut client = house.connect().await.hello().await;
    let forged = POST.replace("AUTHENTIC", "not proved:");
    assert!(client.mail("joe@example.net", &["club@example.org"], &forged).await.starts_with("250"));
    let notice = house.message_for("bob@example.org").await;
    assert!(notice.contains("Nothing shows that it is really from there."), "{notice}");
    assert!(
        notice.contains("From: The club <club+owner@example.org>") && notice.contains("DKIM-Signature:"),
        "{notice}"
    );
    let waiting = control.ask(&HeldPosts {}).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].subject.as_str()), (1, "not proved: hello"));
    assert_eq!(peer.transactions(), 0);

    let vacation = "Subject: away\r\nAuto-Submitted: auto-replied\r\n\r\n";
    let approve = find(&notice, "club+approve-");
    let refused = client.mail("bob@example.org", &[&approve], vacation).await;
    assert!(refused.starts_with("550 5.7.1 automatic mail decides nothing"), "{refused}");
    assert!(client.mail("bob@example.org", &[&approve], "Subject: yes\r\n\r\n").await.starts_with("250"));
    peer.message_for("pat@example.net").await;
    assert!(control.ask(&HeldPosts {}).await.unwrap().is_empty());
    let twice = client.mail("bob@example.org", &[&approve], "Subject: yes\r\n\r\n").await;
    assert!(twice.starts_with("550 5.1.1 this has been decided already"), "{twice}");

    let moderated = client.mail("joe@example.net", &["news@example.org"], POST).await;
    assert!(moderated.starts_with("250"), "even a member waits there: {moderated}");
    let waiting = control.ask(&HeldPosts {}).await.unwrap();
    assert_eq!(waiting[0].author, Some(address("joe@example.net")));
    let drop = DecidePost { id: waiting[0].id.clone(), approve: false };
    control.ask(&drop).await.unwrap();
    assert!(control.ask(&drop).await.unwrap_err().to_string().contains("mailstead list pending"));
    assert!(control.ask(&HeldPosts {}).await.unwrap().is_empty());

    let junk = client.mail("joe@example.net", &["talk@example.org"], "Subject: SPAM-JUNK\r\n\r\n").await;
    assert!(junk.starts_with("550 5.7.1 this looks like spam"), "{junk}");
    assert!(client.mail("x@other.example", &["talk@example.org"], &forged).await.starts_with("250"), "open to all");
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_takes_a_confirmation_from_the_address_itself() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    let letter = |from: &str| format!("From: {from}\r\nSubject: AUTHENTIC\r\n\r\n");
    let unproved =
        client.mail("zoe@example.net", &["club+subscribe@example.org"], "From: zoe@example.net\r\n\r\n").await;
    assert!(unproved.starts_with("550 5.7.1 nothing shows"), "{unproved}");
    let asked = client.mail("zoe@example.net", &["club+subscribe@example.org"], &letter("zoe@example.net")).await;
    assert!(asked.starts_with("250"), "{asked}");
    let question = peer.message_for("zoe@example.net").await;
    let confirm = find(&question, "club+confirm-");
    let other = client.mail("eve@example.net", &[&confirm], &letter("eve@example.net")).await;
    assert!(other.starts_with("550 5.7.1 this is not what eve@example.net was sent"), "{other}");
    assert!(client.mail("zoe@example.net", &[&confirm], &letter("zoe@example.net")).await.starts_with("250"));
    assert!(house.members.lock().unwrap().contains_key(&address("zoe@example.net")));
    let leave = client.mail("eve@example.net", &["club+unsubscribe@example.org"], &letter("eve@example.net")).await;
    assert!(leave.starts_with("550 5.1.1 eve@example.net is no member"), "{leave}");
    let nothing = client.mail("eve@example.net", &["club+frobnicate@example.org"], &letter("eve@example.net")).await;
    assert!(nothing.starts_with("550 5.1.1"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_comes_back_is_counted_for_the_member_whose_it_was() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    house.members.lock().unwrap().insert(address("refused@example.net"), false);
    let mut client = house.connect().await.hello().await;
    client.mail("joe@example.net", &["club@example.org"], POST).await;
    peer.message_for("pat@example.net").await;
    let bounced = |who: &str| house.members.lock().unwrap().get(&address(who)).copied();
    eventually(|| bounced("refused@example.net") == Some(true)).await;
    let letter = house.message_for("bob@example.org").await;
    assert!(
        letter.contains("Subject: \"refused@example.net gets no more mail of The club\"")
            || letter.contains("refused@example.net gets no more mail"),
        "{letter}"
    );
    // A report that comes from afar counts too, but not one about a delay.
    let back = peer.sender_for("pat@example.net");
    let report = |action: &str| {
        format!(
            "From: mailer-daemon@example.net\r\nContent-Type: multipart/report; boundary=x\r\n\r\n--x\r\n\
         Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; pat@example.net\r\nAction: {action}\r\n\r\n--x--"
        )
    };
    assert!(client.mail("", &[&back], &report("delayed")).await.starts_with("550 5.7.1"));
    assert_eq!(bounced("pat@example.net"), Some(false));
    assert!(client.mail("", &[&back], &report("failed")).await.starts_with("250"));
    assert_eq!((bounced("pat@example.net"), bounced("joe@example.net")), (Some(true), Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_from_a_strict_domain_is_sent_in_the_lists_name_and_one_of_ours_in_its_own() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    let strict = POST.replace("hello", "STRICT");
    assert!(client.mail("joe@example.net", &["club@example.org"], &strict).await.starts_with("250"));
    let copy = peer.message_for("pat@example.net").await;
    assert!(
        copy.contains("\r\nFrom: joe via The club <club@example.org>\r\nReply-To: <joe@example.net>\r\n"),
        "{copy}"
    );
    let mut user = house.user().await;
    let own = "From: ann@example.org\r\nSubject: from ann\r\n\r\nhi";
    assert!(user.mail("ann@example.org", &["club@example.org"], own).await.starts_with("250"));
    eventually(|| house.messages_for("ann@example.org").iter().any(|copy| copy.contains("Subject: from ann"))).await;
    let copies = house.messages_for("ann@example.org");
    let copy = copies.iter().find(|copy| copy.contains("Subject: from ann")).unwrap();
    assert!(copy.contains("\r\nFrom: ann@example.org\r\n") && copy.contains("List-Id: The club"), "{copy}");
}
