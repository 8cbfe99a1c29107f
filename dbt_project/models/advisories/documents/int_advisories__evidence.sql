-- One row per advisory: its claims, as the site shows them, in a list.
-- `list_sort` takes the first field of a struct first; an ordered aggregate needs more memory.
with judged_claims as (

    select * from {{ ref('int_advisories__judged') }}

),

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

evidence as (

    select
        judged_claims.advisory_id,
        judged_claims.package_key,
        bool_or(judged_claims.claim = 'known_exploited') as is_known_exploited,
        list_sort(array_agg(
            struct_pack(
                rank := judged_claims.rank,
                verdict := judged_claims.verdict,
                source := claim_sources.label,
                claim := judged_claims.claim,
                rule := judged_claims.rule_id,
                detail := nullif(
                    concat_ws(
                        ', ',
                        judged_claims.version,
                        judged_claims.detail,
                        'ruled by ' || judged_claims.author,
                        'until ' || strftime(
                            make_timestamp(epoch_us(judged_claims.valid_until)),
                            '%Y-%m-%d %H:%M UTC'
                        )
                    ),
                    ''
                ),
                record := judged_claims.record_id,
                record_url := judged_claims.record_url
            )
        )) as statements,
    from judged_claims
    left join claim_sources on judged_claims.source = claim_sources.source
    group by judged_claims.advisory_id, judged_claims.package_key

)

select * from evidence
