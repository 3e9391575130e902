"""Bearer tokens: who is known by the hash of a token, and what a file must hold."""

import hashlib
from pathlib import Path

import pytest
import yaml

from fleetmeter_workers.tokens import Principal, Tokens, TokensError


def written(folder: Path, *entries: tuple[str, str, str]) -> Path:
    path = folder / "tokens.yaml"
    tokens = [{"name": name, "role": role, "sha256": digest} for name, role, digest in entries]
    path.write_text(yaml.safe_dump({"tokens": tokens}))
    return path


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def test_a_token_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    tokens = Tokens(written(tmp_path, ("a", "reader", digest("one")), ("b", "admin", digest("two").upper())))
    assert tokens.principal("Bearer one") == Principal("a", "reader")
    assert tokens.principal("bearer  two ") == Principal("b", "admin")
    for header in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic one",
        "Bearer three",
        f"Bearer {digest('one')}",
        "Bearer é",
    ):
        assert tokens.principal(header) is None


def test_without_a_file_nobody_is_known(tmp_path: Path) -> None:
    assert Tokens(None).principal("Bearer one") is None
    assert Tokens(tmp_path / "missing").principal("Bearer one") is None


def test_what_is_no_hash_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(TokensError) as refused:
        Tokens(written(tmp_path, ("a", "reader", "my-secret-token")))
    assert "tokens[0].sha256" in str(refused.value)
    assert "my-secret-token" not in str(refused.value)
