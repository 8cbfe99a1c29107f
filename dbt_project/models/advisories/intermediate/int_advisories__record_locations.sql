-- One row per record of a source that can make a claim: the file and the line where it is now. They
-- move with every file, also where the record does not change, so they are joined last. Of records
-- that name no package only those of an id that the feed or a ruling names are kept: one in nine.
{%- set records_of_packages = [
    ref('stg_advisories__echo'),
    ref('stg_advisories__overrides'),
    ref('stg_advisories__debian'),
    ref('stg_advisories__osv'),
] %}
{%- set records_of_ids = [
    ref('stg_advisories__nvd'),
    ref('stg_advisories__nvd_modified'),
    ref('stg_advisories__kev'),
] %}
with named_ids as (

    select cve_id from {{ ref('stg_advisories__echo') }}
    union
    select cve_id from {{ ref('stg_advisories__overrides') }}

),

records as (

    {% for records in records_of_packages + records_of_ids %}
        select
            source_record,
            source_sha256,
            source_row,
        from {{ records }}
        {% if records in records_of_ids %}
            where cve_id in (select named_ids.cve_id from named_ids)
        {% endif %}
        {% if not loop.last %}union all{% endif %}
    {% endfor %}

)

select * from records
