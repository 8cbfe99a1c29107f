-- One row per name with a wiki page. The text of the page is not selected: no model needs it.
with source as (

    select * from {{ source('transit', 'station_pages') }}

),

renamed as (

    select
        station_name as searched_name,
        title,
        length(page_text) as page_characters,
        source_sha256,
        source_row,
    from source

)

select * from renamed
